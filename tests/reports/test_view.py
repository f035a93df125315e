"""view.html: in a real browser, the score at any threshold is Python's, and pictures are loaded where they are seen."""

import json
import re

import browser
import numpy as np
import pandas as pd
import pytest

from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.iou_map import Truth, box_matches, image_scores, mean_iou_map, sweep
from pneumonia.reports.view import View, page_data, write_view

needs_browser = pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium (Debian: chromium-headless-shell)")


def view_of(truth, detections, members=None, side=64, **settings):
    images = len(truth)
    table = {
        "patientId": truth.ids,
        "sex": ["F", "M", None] * images,
        "age": np.arange(images) % 90 + 1,
        "view": ["AP", "PA"] * images,
    }
    table = pd.DataFrame({name: list(column)[:images] for name, column in table.items()})
    generator = np.random.default_rng(0)
    squares = generator.integers(0, 255, (8, side, side), dtype=np.uint8)
    return View(
        title="A <b>title</b>",
        lead="lead",
        note="note",
        truth=truth,
        detections=detections,
        threshold=settings.pop("threshold", 0.25),
        table=table,
        sizes=np.full((images, 2), 1024),
        picture=lambda row: squares[row % 8],
        pictures_key="key",
        members=members or {},
        classifiers={"gate": np.linspace(0, 1, images)},
    )


@pytest.fixture(scope="module")
def open_page(tmp_path_factory):
    """A function that writes a view and opens it; every page may be looked at as it is, unchanged."""
    with browser.Browser() as page:

        def open_view(view):
            page.open(write_view(tmp_path_factory.mktemp("view"), view, 1024))
            page.wait("document.body.dataset.ready")
            return page

        yield open_view
        assert page.faults == []


def text(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def value(page, name):
    return page.run(f"Number(document.getElementById('{name}').dataset.value)")


def choose(page, name, choice):
    page.run(
        f"(() => {{ const node = document.getElementById('{name}'); node.value = {json.dumps(choice)};"
        "node.dispatchEvent(new Event('input')); node.dispatchEvent(new Event('change')); })()"
    )


def cards(page):
    return page.run("[...document.querySelectorAll('.card')].map(card => Number(card.dataset.index))")


@needs_browser
def test_the_score_at_every_threshold_is_that_of_the_metric(open_page, competition):
    truth, members, _, _ = competition(120)
    table = members["a"]
    ties = table.with_scores(np.round(table.scores, 1))  # many boxes of equal confidence
    for detections in (table, ties):
        page = open_page(view_of(truth, detections))
        assert value(page, "score") == pytest.approx(mean_iou_map(truth, detections, 0.25), abs=1e-12)
        best, _ = sweep(truth, detections).best()
        for threshold in (0.0, 0.5, best, float(detections.scores[7]), 0.9):
            choose(page, "threshold", repr(threshold))
            assert value(page, "score") == pytest.approx(mean_iou_map(truth, detections, threshold), abs=1e-12)
    choose(page, "slider", "0.3")
    assert value(page, "score") == pytest.approx(mean_iou_map(truth, ties, 0.3), abs=1e-12)
    page.run("document.getElementById('slider').focus()")
    page.press("ArrowRight", 39)
    assert page.run("document.getElementById('threshold').value") == "0.301"
    page.run("document.getElementById('reset').click()")
    assert page.run("document.getElementById('threshold').value") == "0.25"


@needs_browser
def test_a_score_that_no_image_has(open_page):
    nothing = [np.empty((0, 4))] * 2
    page = open_page(view_of(Truth.from_lists("ab", nothing), Detections.from_lists("ab", nothing, [[], []])))
    assert text(page, "score") == "-" and "0 true boxes found, 0 missed, 0 false alarms" in text(page, "counts")


@needs_browser
def test_filters_and_order(open_page, competition):
    truth, members, _, _ = competition(90)
    detections = members["b"]
    view = view_of(truth, detections, threshold=0.2)
    page = open_page(view)
    kept = detections.keep(detections.scores >= 0.2)
    matched = box_matches(truth, kept)[:, 0]
    hits = np.bincount(kept.image_of_box[matched], minlength=90)
    expected = {
        "all": np.ones(90, bool),
        "positive": truth.positive,
        "negative": ~truth.positive,
        "false": kept.counts > hits,
        "missed": np.diff(truth.offsets) > hits,
    }
    scores = image_scores(truth, kept)
    for kind, shown in expected.items():
        choose(page, "kind", kind)
        rows = cards(page)
        assert sorted(rows) == np.flatnonzero(shown).tolist()
        order = np.nan_to_num(scores[rows], nan=2)
        assert (np.diff(order) >= 0).all()
        counted = scores[shown][~np.isnan(scores[shown])]
        assert value(page, "part") == pytest.approx(counted.mean(), abs=1e-12)
        assert f"{shown.sum()} of 90 images" in text(page, "counts")
    choose(page, "kind", "all")
    choose(page, "group-sex", "F")
    choose(page, "group-view", "AP")
    assert sorted(cards(page)) == [row for row in range(90) if row % 3 == 0 and row % 2 == 0]
    choose(page, "group-sex", "unknown")
    assert sorted(cards(page)) == [row for row in range(90) if row % 3 == 2 and row % 2 == 0]
    for name in ("group-sex", "group-view"):
        choose(page, name, "")
    choose(page, "group-age", "up to 20")
    assert len(cards(page)) == 20
    choose(page, "group-age", "")
    choose(page, "group-box-size", "small")  # every box has 200 x 200 pixels
    assert sorted(cards(page)) == np.flatnonzero(truth.positive).tolist()
    choose(page, "order", "confident")
    top = [detections.image(row)[1].max() for row in cards(page)]
    assert top == sorted(top, reverse=True)


@needs_browser
def test_an_image_at_full_size_with_the_boxes_of_each_member(open_page, competition):
    truth, members, _, _ = competition(30)
    detections = members["a"]
    page = open_page(view_of(truth, detections, members, threshold=0.0))
    row = cards(page)[0]
    page.click(".card button")
    page.wait("document.querySelector('dialog img')?.naturalWidth")
    assert page.run("document.querySelector('dialog img').src").endswith(f"view_images/full/{row}.jpg")
    assert truth.ids[row] in page.run("document.querySelector('dialog figcaption').textContent")
    assert f"gate: {row / 29:.3f}" in page.run("document.querySelector('dialog .legend').textContent")

    def boxes(kind):
        return page.run(
            f"[...document.querySelectorAll('dialog rect.{kind}')].map(box => Number(box.getAttribute('x')))"
        )

    own = detections.by_confidence().image(row)[0]
    assert boxes("predicted") == pytest.approx(own[:, 0], abs=0.006)
    assert len(boxes("true")) == np.diff(truth.offsets)[row]
    assert len(boxes("member")) == sum(len(table.image(row)[1]) for table in members.values())
    page.click("dialog input")
    assert len(boxes("member")) == sum(len(members[name].image(row)[1]) for name in "bc")
    page.press("ArrowRight", 39)
    assert page.run("document.querySelector('dialog img').src").endswith(f"full/{cards(page)[1]}.jpg")


@needs_browser
def test_three_thousand_images_open_offline_and_few_are_loaded(open_page, competition):
    truth, members, _, _ = competition(3000)
    page = open_page(view_of(truth, members["a"], side=32))
    ready = page.run("Number(document.body.dataset.ready)")
    print(f"3,000 images: ready after {ready} ms")
    page.wait("document.querySelector('.card img')?.naturalWidth")
    assert len(cards(page)) == 3000
    pictures = [url for url in page.requests if "view_images" in url]
    assert 0 < len(pictures) < 100
    assert all(url.startswith("file://") for url in page.requests)
    page.run("window.scrollTo(0, document.body.scrollHeight)")
    last = cards(page)[-1]
    page.wait(f"document.querySelector('img[src=\"view_images/thumbs/{last}.jpg\"]')?.naturalWidth")
    assert page.run("document.querySelectorAll('.card img').length") < 100  # cards far away are empty again


# ------------------------------------------------------------------ without a browser


def test_the_pages_data_is_text_only(tmp_path):
    truth = Truth.from_lists(["</script><b>", "b"], [np.array([[1, 2, 200, 300.0]]), np.empty((0, 4))])
    detections = Detections.from_lists(truth.ids, [truth.boxes[:1]] * 2, [[0.123456], [0.1]])
    view = view_of(truth, detections)
    text = write_view(tmp_path, view, 16).read_text()
    content = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]
    data = json.loads(content)
    assert data == json.loads(json.dumps(page_data(view)))
    assert data["images"][0]["boxes"] == [[0.123456, 1, 2, 200, 300, 255]]
    assert data["images"][1]["boxes"] == [[0.1, 1, 2, 200, 300, 0]]
    assert data["images"][0]["groups"] == ["F", "up to 20", "AP", ["medium"]]
    assert "A &lt;b&gt;title" in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_pictures_are_written_once(tmp_path):
    nothing = [np.empty((0, 4))] * 2
    view = view_of(Truth.from_lists("ab", nothing), Detections.from_lists("ab", nothing, [[], []]))
    write_view(tmp_path, view, 48)
    picture = tmp_path / "view_images" / "full" / "1.jpg"
    before = picture.stat().st_mtime_ns
    write_view(tmp_path, view, 48)
    assert picture.stat().st_mtime_ns == before
    write_view(tmp_path, view, 32)
    assert picture.stat().st_mtime_ns > before
    assert sorted(path.name for path in (tmp_path / "view_images" / "thumbs").iterdir()) == ["0.jpg", "1.jpg"]
