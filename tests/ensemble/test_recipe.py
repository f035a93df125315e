"""Recipes: the steps by hand, the file, and what a file may not say."""

import numpy as np
import pytest

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.ensemble.calibrate import Calibration, fit_exponent, fit_images, fit_logistic, fit_rank
from pneumonia.ensemble.nested import problem_of, with_members
from pneumonia.ensemble.recipe import (
    Fusion,
    Gate,
    Member,
    Recipe,
    apply,
    apply_to_sizes,
    image_probabilities,
    read_recipe,
    recipe_of,
    write_recipe,
)
from pneumonia.ensemble.tune import Search, fit
from pneumonia.system.errors import BadInput


def single(boxes, scores, ids=("a",)):
    return Detections.from_lists(ids, boxes, scores)


def plain(**changes) -> Recipe:
    """One member, every step switched off."""
    fusion = Fusion(nms_iou=1.0, method="nms", iou=1.0, min_score=0.0)
    return Recipe([Member("m")], calibration="none", fusion=fusion, gate=Gate(0.0), threshold=0.0, **changes)


def test_a_plain_recipe_changes_nothing():
    table = single([[(10, 20, 30, 40), (500, 500, 9, 9)]], [[0.25, 0.75]])
    found = apply(plain(), [table])
    assert found.boxes.tolist() == [[500, 500, 9, 9], [10, 20, 30, 40]] and found.scores.tolist() == [0.75, 0.25]


def test_boxes_shrink_about_their_centre_and_stay_in_the_frame():
    table = single([[(100, 100, 100, 200), (900, -50, 300, 100)]], [[0.9, 0.8]])
    assert apply(plain(shrink_width=0.8, shrink_height=0.5), [table]).boxes.tolist() == [
        [110, 150, 80, 100],
        [930, 0, 94, 25],
    ]


def test_a_box_outside_the_frame_goes():
    assert len(apply(plain(), [single([[(2000, 0, 10, 10)]], [[0.9]])]).boxes) == 0


def test_images_of_other_sizes_keep_their_boxes():
    boxes = [[(100, 200, 300, 400)], [(1800, 100, 200, 400)], [(50, 100, 150, 200)]]
    table = single(boxes, [[0.9], [0.8], [0.7]], "abc")
    sizes = np.array([[1024, 1024], [4096, 2048], [512, 512]])  # rows, columns
    found = apply_to_sizes(plain(shrink_width=0.5), [table], [], sizes)
    assert found.boxes.tolist() == [[175, 200, 150, 400], [1850, 100, 100, 400], [87.5, 100, 75, 200]]
    assert len(apply(plain(), [table]).boxes) == 2  # taken as pixels of the frame, one lies outside


def test_written_numbers_never_leave_the_frame():
    generator = np.random.default_rng(0)
    corner = generator.uniform(-100, 1100, (5000, 2))
    boxes = np.concatenate([corner, generator.uniform(0.1, 500, (5000, 2))], axis=1)
    found = apply(
        plain(shrink_width=0.937, shrink_height=1.013), [single(boxes, generator.random((5000, 1)), range(5000))]
    )
    assert (found.boxes[:, :2] >= 0).all() and (found.boxes[:, 2:] > 0).all()
    assert (found.boxes[:, 0] + found.boxes[:, 2] <= 1024).all() and (
        found.boxes[:, 1] + found.boxes[:, 3] <= 1024
    ).all()


def test_share_of_the_top_box():
    boxes = [[(0, 0, 9, 9), (100, 0, 9, 9), (200, 0, 9, 9)]]
    found = apply(plain(min_ratio_to_top=0.5), [single(boxes, [[0.8, 0.41, 0.39]])])
    assert found.scores.tolist() == [0.8, 0.41]


def test_a_second_box_needs_more():
    boxes = [[(0, 0, 9, 9), (100, 0, 9, 9), (200, 0, 9, 9)]]
    recipe = plain(second_box_factor=2.0)
    recipe.threshold = 0.2
    found = apply(recipe, [single(boxes, [[0.5, 0.41, 0.39]])])
    assert found.boxes[:, 0].tolist() == [0, 100]
    recipe.second_box_factor = 0.5  # or less, but never more confidence than the first box has
    assert apply(recipe, [single(boxes, [[0.21, 0.11, 0.05]])]).scores.tolist() == [0.21, 0.21]


def test_the_gate_multiplies_and_cuts_off():
    table = single([[(0, 0, 9, 9)], [(0, 0, 9, 9)]], [[0.5], [0.5]], ids=("a", "b"))
    recipe = plain()
    recipe.classifiers = [Member("c"), Member("d", weight=3.0)]
    recipe.gate = Gate(exponent=2.0, cutoff=0.3)
    classifiers = [
        ClassProbabilities(("a", "b"), np.array([0.8, 0.1])),
        ClassProbabilities(("a", "b"), np.array([0.4, 0.2]), np.array([0.6, 0.8]), np.array([0.0, 0.0])),
    ]
    found = apply(recipe, [table], classifiers)
    assert found.counts.tolist() == [1, 0]
    assert found.scores.tolist() == [pytest.approx(0.5 * 0.5**2)]


def test_not_normal_counts_as_a_share_of_opacity():
    recipe = plain()
    recipe.classifiers, recipe.gate = [Member("c")], Gate(exponent=1.0, not_normal=0.5)
    classes = ClassProbabilities(("a",), np.array([0.3]), np.array([0.3]), np.array([0.4]))
    assert apply(recipe, [single([[(0, 0, 9, 9)]], [[1.0]])], [classes]).scores.tolist() == [0.5]


def test_members_agree_on_an_image():
    tables = [single([[(0, 0, 90, 90)]], [[0.8]]), single([[(500, 0, 90, 90)]], [[0.4]])]
    recipe = Recipe([Member("m"), Member("n")], calibration="none", gate=Gate(agreement=1.0), threshold=0.0)
    assert apply(recipe, tables).scores.tolist() == [pytest.approx(0.4 * 0.6), pytest.approx(0.2 * 0.6)]


def test_an_images_probability_is_the_mean_of_all_tables_but_those_of_weight_0():
    low, high = single([[(0, 0, 9, 9)] * 2, []], [[0.25, 0.5], []], "ab"), single([[], []], [[], []], "ab")
    classes = ClassProbabilities(("a", "b"), np.array([0.8, 0.1]))
    recipe = Recipe([Member("low", 0.3), Member("high", 0.0)], [Member("classes")], threshold=0.9)
    np.testing.assert_allclose(image_probabilities(recipe, [low, high], [classes]), [0.65, 0.05])
    recipe.members[0].image = Calibration("logistic", 1.0, np.log(4))  # odds of 1 to 1 become 4 to 1
    np.testing.assert_allclose(image_probabilities(recipe, [low, high], [classes]), [0.8, 0.05], atol=1e-5)


def test_the_wrong_number_of_tables_is_refused():
    with pytest.raises(ValueError):
        apply(plain(), [])


# ------------------------------------------------------------------ calibration


def test_a_logistic_calibration_finds_what_made_the_data():
    generator = np.random.default_rng(0)
    scores = generator.uniform(0.01, 0.99, 20_000)
    logit = np.log(scores / (1 - scores))
    worth = (generator.random(20_000) < 1 / (1 + np.exp(-(0.6 * logit - 1.5)))).astype(float)
    fitted = fit_logistic(scores, worth)
    assert fitted.slope == pytest.approx(0.6, abs=0.05) and fitted.intercept == pytest.approx(-1.5, abs=0.08)
    assert fitted(scores).mean() == pytest.approx(worth.mean(), abs=1e-3)


@pytest.mark.parametrize("scores", [np.empty(0), np.array([0.5]), np.array([0.0, 1.0, 0.5])])
def test_too_little_to_calibrate_leaves_confidences_as_they_are(scores):
    assert fit_logistic(scores, np.zeros(len(scores)))(scores).tolist() == scores.tolist()
    assert fit_images("logistic", scores, np.zeros(len(scores), dtype=bool))(scores).tolist() == scores.tolist()


def test_a_calibration_never_turns_the_order_round():
    generator = np.random.default_rng(0)
    scores = generator.random(500)
    for calibration in (fit_logistic(scores, 1 - scores), fit_rank(scores, 50), fit_rank(np.round(scores, 1), 50)):
        values = calibration(np.linspace(0, 1, 101))
        assert (np.diff(values) >= 0).all() and values[0] >= 0 and values[-1] <= 1


def test_rank_makes_scales_equal():
    scores = np.random.default_rng(0).random(300)
    faint = scores**4 / 50
    np.testing.assert_allclose(fit_rank(scores, 100)(scores), fit_rank(faint, 100)(faint), atol=0.02)


# ------------------------------------------------------------------ the file


def full() -> Recipe:
    return Recipe(
        [
            Member("yolo é", 1 / 3, Calibration("logistic", 0.1 + 0.2, -1e-7), Calibration("logistic", 1 / 7, 0.3)),
            Member("b", 1.0, Calibration("rank", knots_in=[0.0, 1.0], knots_out=[0.0, 1.0])),
        ],
        [Member("c", 2.0)],
        threshold=1e-5,
        shrink_width=0.875,
    )


def test_a_recipe_comes_back_bit_for_bit(tmp_path):
    write_recipe(tmp_path / "recipe.yaml", full(), "made by a test\nin two lines")
    assert (tmp_path / "recipe.yaml").read_text().startswith("# made by a test\n# in two lines\nmembers:\n")
    again = read_recipe(tmp_path / "recipe.yaml")
    assert again.members[0] == full().members[0] and again.members[1].calibration.knots_in == [0.0, 1.0]
    assert (again.fusion, again.gate, again.threshold) == (full().fusion, full().gate, 1e-5)


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        ({"treshold": 0.1}, "did you mean 'threshold'"),
        ({"fusion": {"method": "best"}}, "known: wbf"),
        ({"fusion": 3}, "is not a mapping"),
        ({"threshold": "high"}, "give a number"),
        ({"threshold": float("nan")}, "threshold: nan is not allowed"),
        ({"fusion": {"votes": 1.5}}, "whole number"),
        ({"fusion": {"votes": -3}}, "1 or more"),
        ({"fusion": {"iou": 1.5}}, "fusion.iou: 1.5 is not allowed"),
        ({"gate": {"exponent": -1}}, "gate.exponent: -1 is not allowed; give 0 or more"),
        ({"members": [{"name": "a", "wieght": 1}]}, r"unknown setting 'members\[0\].wieght'; did you mean"),
        ({"second_box_factor": 0}, "above 0"),
        ({"members": "m"}, "give a list"),
        ({"members": [{"name": "m", "weight": -1}]}, "0 or more"),
        ({"members": [{"name": "m", "weight": 0}]}, "weight 0"),
        ({"members": [{"name": "m", "calibration": {"kind": "magic"}}]}, "known: none"),
        ({"frame": [1024]}, r"\[width, height\]"),
    ],
)
def test_a_wrong_recipe_names_what_is_wrong(tree, word):
    with pytest.raises(BadInput, match=word):
        recipe_of(tree, "recipe.yaml")


def test_broken_yaml_names_its_row(tmp_path):
    (tmp_path / "r.yaml").write_text("threshold: 0.1\nmembers: [\n")
    with pytest.raises(BadInput, match=r"r.yaml:\d+: is not valid YAML"):
        read_recipe(tmp_path / "r.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")


def test_the_exponent_says_how_much_the_classifier_adds():
    """Evidence of equal strength: new, it counts as much as the box's own; known or none, it does not count."""
    generator = np.random.default_rng(0)
    hit = generator.random(40_000) < 0.1

    def evidence(strength):
        return -3 + np.where(hit, strength, 0) + generator.normal(0, 1, 40_000)

    box, image, nothing = (np.exp(np.minimum(evidence(strength), 0)) for strength in (1.5, 1.5, 0))
    worth = hit.astype(float)
    assert fit_exponent(box, image, worth) == pytest.approx(1, abs=0.25)
    assert fit_exponent(box, nothing, worth) < 0.15
    assert fit_exponent(box, np.sqrt(box * nothing), worth) < 0.15
    assert fit_exponent(nothing, image, worth) == 2
    assert fit_exponent(box[:20], image[:20], np.zeros(20)) == 1


def test_a_search_fits_the_exponent_unless_one_is_given(competition):
    truth, members, classifiers, groups = competition(120)
    problem = problem_of(members, classifiers, truth, groups)

    def fitted(exponent):
        start = with_members(Recipe(gate=Gate(exponent)), list(members), list(classifiers))
        return fit(problem, start, Search(1)).gate.exponent

    assert fitted(1.0) not in (0, 1, 2) and fitted(0.25) == 0.25
