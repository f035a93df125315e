"""An image that is edited in place: its file has the same name and size, and is no longer the same data."""

import shutil

import pytest

from pneumonia import config, schema
from pneumonia.data import folds
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.demo.competition import generate
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput

TRAIN, TEST = 12, 2


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("competition") / "demo", TRAIN, TEST, workers=1)


@pytest.fixture
def prepared(demo, tmp_path, monkeypatch):
    """Prepares a copy of the competition for models of some image sizes, with caches and folds of its own."""
    folder = shutil.copytree(demo, tmp_path / "copy")
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    monkeypatch.setattr(folds, "REPOSITORY", tmp_path)

    def again(*image_sizes):
        job = schema.Job(data=str(folder), preset="smoke", n_folds=2, holdout="")
        return prepare(job, resolve(job), image_sizes)

    return again


def edit(path):
    """Change a bit of the compressed pixels, far behind the header."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 0x10
    path.write_bytes(content)


def test_a_run_does_not_go_on_with_an_image_that_was_edited_in_place(prepared, tmp_path):
    experiment, run = config.read_experiment("mobilenet_unet", "smoke"), Run(tmp_path / "runs" / "fold0")
    before = prepared(64)
    run.begin(experiment, before.identity)
    run.begin(experiment, prepared(64).identity)
    edit(next(iter(sorted((tmp_path / "copy" / "stage_2_train_images").iterdir()))))
    now = prepared(64)
    assert now.dataset == before.dataset and now.content_key == before.content_key
    shown = f"identity.images_sha256 was {before.images_sha256} and is now {now.images_sha256}"
    with pytest.raises(BadInput, match=shown):
        run.begin(experiment, now.identity)


def test_what_other_members_need_is_no_part_of_a_run_s_identity(prepared):
    small, both = prepared(64), prepared(64, 300)
    assert small.cache.size == 256 and both.cache.size == 512 and small.identity == both.identity
