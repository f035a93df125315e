"""RSNA's release, made up: with images, from a small synthetic competition; and tables of four images alone."""

from pathlib import Path

import pytest
from made_up_release import NORMAL, NOT_NORMAL, OPACITY, export_of, numbered_image, release_of

from pneumonia import config
from pneumonia.demo.competition import generate


@pytest.fixture(scope="session")
def kaggle(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("kaggle") / "rsna", train_images=24, test_images=4, seed=3, workers=1)


@pytest.fixture(scope="session")
def release(kaggle, tmp_path_factory) -> Path:
    return release_of(kaggle, tmp_path_factory.mktemp("release") / "rsna")[0]


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """Tables and caches are written to the test's own folder."""
    monkeypatch.setattr(config, "REPOSITORY", tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture
def small(tmp_path) -> Path:
    """Tables of four images, without pixels."""
    images = [
        numbered_image(1, OPACITY, (1.5, 2, 30.25, 40), (100, 2, 30, 40)),
        numbered_image(2, NORMAL),
        numbered_image(3, NOT_NORMAL),
        numbered_image(4, OPACITY, (1, 2, 3, 4), is_test=True),
    ]
    return export_of(images, tmp_path / "small")
