"""What is predicted for an image does not depend on which others are predicted with it, in what order, by how many
threads: the same bits, for every fusion, gate and calibration, folds merged, through the recipe's file."""

import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from pneumonia.boxes import fusion as fusion_module
from pneumonia.boxes.fusion import CONFIDENCES, METHODS, Fusion, fuse
from pneumonia.boxes.predictions import ClassProbabilities, Detections, read_detections
from pneumonia.ensemble.calibrate import Calibration, fit_rank
from pneumonia.ensemble.merge import apply_to_folds, fit_merge_maps, merge_classes, merge_detections, merge_folds
from pneumonia.ensemble.recipe import Gate, Member, Recipe, image_probabilities, read_recipe, write_recipe

IMAGES, FOLDS, MEMBERS = 24, 9, 9  # numpy adds eight numbers and more in another order than fewer


def table_of(generator, images=IMAGES) -> Detections:
    """Boxes around two places; confidences of two digits, which tie; some images without a box."""
    boxes, scores = [], []
    for _ in range(images):
        count = generator.integers(0, 9)
        corner = np.array([[200, 300], [600, 350]])[generator.integers(0, 2, count)] + generator.normal(
            0, 40, (count, 2)
        )
        boxes.append(np.concatenate([corner, generator.uniform(120, 320, (count, 2))], axis=1))
        scores.append(np.round(generator.beta(2, 3, count), 2))
    return Detections.from_lists([f"i{number}" for number in range(images)], boxes, scores)


def classes_of(generator, images=IMAGES) -> ClassProbabilities:
    normal, not_normal, opacity = generator.dirichlet([1, 1, 1], images).T
    return ClassProbabilities(tuple(f"i{number}" for number in range(images)), opacity, normal, not_normal)


def folds_of_members() -> dict:
    """Nine folds of the first member and of the first classifier, two of the others."""
    generator = np.random.default_rng(0)
    counts = [FOLDS] + [2] * (MEMBERS - 1)
    folds = {f"m{number}": [table_of(generator) for _ in range(count)] for number, count in enumerate(counts)}
    return folds | {f"c{number}": [classes_of(generator) for _ in range(count)] for number, count in enumerate(counts)}


FOLDS_OF_MEMBERS = folds_of_members()
NAMES = [f"m{number}" for number in range(MEMBERS)], [f"c{number}" for number in range(MEMBERS)]
MERGED = fit_merge_maps(Recipe(*([Member(name) for name in each] for each in NAMES)), FOLDS_OF_MEMBERS)
SIZES = np.random.default_rng(1).integers(500, 3000, (IMAGES, 2))
CALIBRATIONS = {
    "none": Calibration(),
    "logistic": Calibration("logistic", 0.73, -0.41),
    "rank": fit_rank(FOLDS_OF_MEMBERS["m0"][0].scores, IMAGES),
}
GATES = {
    "none": Gate(exponent=0.0),
    "classifiers": Gate(exponent=0.37, cutoff=0.1, not_normal=0.2),
    "agreement": Gate(exponent=0.0, agreement=0.61),
    "both": Gate(exponent=1.3, cutoff=0.05, agreement=0.5),
}
FUSIONS = [Fusion(confidence=confidence, votes=2) for confidence in CONFIDENCES] + [
    Fusion(method=method, iou=0.5) for method in METHODS if method != "wbf"
]


def recipe_with(fusion: Fusion, gate: str, calibration: str) -> Recipe:
    generator = np.random.default_rng(2)
    parts = [
        [
            dataclasses.replace(
                part,
                weight=generator.uniform(0.3, 1),
                calibration=CALIBRATIONS[calibration],
                image=CALIBRATIONS["logistic"],
            )
            for part in each
        ]
        for each in (MERGED.members, MERGED.classifiers)
    ]
    return Recipe(*parts, calibration, fusion, GATES[gate], 0.93, 1.04, 0.2, 1.3, threshold=0.001)


def folds_of(rows) -> dict:
    return {name: [table.rows(np.asarray(rows)) for table in tables] for name, tables in FOLDS_OF_MEMBERS.items()}


def predicted(recipe: Recipe, rows) -> dict[str, bytes]:
    """The bits of each image's boxes and of its probability of an opacity."""
    boxes = apply_to_folds(recipe, folds_of(rows), SIZES[np.asarray(rows)])
    probabilities = image_probabilities(recipe, *merge_folds(recipe, folds_of(rows)))
    return {name: value + number.tobytes() for (name, value), number in zip(bits(boxes).items(), probabilities)}


def bits(found: Detections) -> dict[str, bytes]:
    return {name: b"".join(part.tobytes() for part in found.image(row)) for row, name in enumerate(found.ids)}


def companies():
    generator = np.random.default_rng(3)
    yield from ([row] for row in range(0, IMAGES, 4))
    yield from (generator.permutation(IMAGES)[:count] for count in (2, 3, 9, IMAGES))
    yield range(IMAGES)[::-1]


EVERY = [(fusion, "both", "logistic") for fusion in FUSIONS] + [
    (Fusion(), gate, calibration) for gate, calibration in itertools.product(GATES, CALIBRATIONS)
]


@pytest.mark.parametrize(("fusion", "gate", "calibration"), EVERY)
def test_an_image_has_the_same_bits_in_any_company(tmp_path, fusion, gate, calibration):
    write_recipe(tmp_path / "recipe.yaml", recipe_with(fusion, gate, calibration))
    recipe = read_recipe(tmp_path / "recipe.yaml")
    whole = predicted(recipe, range(IMAGES))
    assert sum(len(value) > 8 for value in whole.values()) > IMAGES / 4  # there are boxes to compare
    for rows in companies():
        for name, value in predicted(recipe, rows).items():
            assert value == whole[name], (name, list(rows))


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: f"{fusion.method}-{fusion.confidence}")
def test_threads_and_runs_change_nothing(monkeypatch, fusion):
    tables = [tables[0] for name, tables in FOLDS_OF_MEMBERS.items() if name.startswith("m")]
    whole = bits(fuse(tables, fusion, threads=1))
    for boxes_per_run, threads in itertools.product((1, 50, 300), (1, 2, 7)):
        monkeypatch.setattr(fusion_module, "BOXES_PER_BATCH", boxes_per_run)
        assert bits(fuse(tables, fusion, threads=threads)) == whole


def test_a_map_fitted_once_is_what_every_file_gets():
    """What confidences were given out by rank over the call could not do."""
    member = fit_merge_maps(Recipe([Member("m0")]), FOLDS_OF_MEMBERS).members[0]
    tables = FOLDS_OF_MEMBERS["m0"]
    whole = bits(merge_detections(member, tables))
    classifier = fit_merge_maps(Recipe(classifiers=[Member("c0")]), FOLDS_OF_MEMBERS).classifiers[0]
    probabilities = merge_classes(classifier, FOLDS_OF_MEMBERS["c0"])
    for rows in companies():
        rows = np.asarray(rows)
        assert bits(merge_detections(member, [table.rows(rows) for table in tables])).items() <= whole.items()
        part = merge_classes(classifier, [table.rows(rows) for table in FOLDS_OF_MEMBERS["c0"]])
        for one, other in zip(part.columns(), probabilities.columns()):
            assert one.tobytes() == other[rows].tobytes()


def test_real_detectors_as_folds():
    if not os.environ.get("RSNA_PREDICTIONS"):
        pytest.skip("RSNA_PREDICTIONS names no folder")
    files = sorted(Path(os.environ["RSNA_PREDICTIONS"], "val750").glob("faster*.csv"))
    tables = [read_detections(file) for file in files]
    tables = [table.select(tables[0].ids) for table in tables]
    (member,) = fit_merge_maps(Recipe([Member("m")]), {"m": tables}).members
    whole = bits(merge_detections(member, tables))
    for row in range(0, len(tables[0]), 7):
        assert bits(merge_detections(member, [table.rows([row]) for table in tables])).items() <= whole.items()
    # and the confidences keep a fold's meaning
    merged = merge_detections(member, tables)
    for threshold in (0.1, 0.3, 0.5, 0.7):
        single = np.mean([(table.scores >= threshold).sum() for table in tables])
        assert (merged.scores >= threshold).sum() == pytest.approx(single, rel=0.05)
