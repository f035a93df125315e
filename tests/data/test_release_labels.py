"""The JSON files of RSNA's release: what is read from them, and which faults are named."""

import tracemalloc

import pytest
from made_up_release import (
    ADJUDICATED,
    MAPPINGS,
    draw_images,
    edit,
    export_of,
    result_of,
)

from pneumonia.data.competition import open_competition
from pneumonia.data.mdai import read_export
from pneumonia.data.study_table import study_table
from pneumonia.system.errors import BadInput

pytestmark = pytest.mark.usefixtures("repository")


def calculated(project: dict, image_number: int) -> list[dict]:
    """The consensus annotations of an image."""
    uid = f"1.2.3.{image_number}.2"
    annotations = project["datasets"][0]["annotations"]
    return [each for each in annotations if each["SOPInstanceUID"] == uid and each["labelId"].startswith("L_4")]


def test_boxes_keep_all_their_digits(small):
    study = study_table(open_competition(small)).set_index("patientId")
    assert study["class"].tolist() == ["opacity", "normal", "not_normal"]
    assert study["boxes"].iloc[0].tolist() == [[1.5, 2, 30.25, 40], [100, 2, 30, 40]]


def test_a_consensus_of_the_whole_study_is_of_its_image(small):
    def without_image(project):
        (each,) = calculated(project, 2)
        del each["SOPInstanceUID"], each["SeriesInstanceUID"]

    expected = open_competition(small).labels.read_bytes()
    edit(small, without_image)
    assert open_competition(small).labels.read_bytes() == expected


def test_names_may_end_in_spaces_and_a_box_may_be_repeated(small):
    def change(project):
        for group in project["labelGroups"]:
            group["name"] += " "
            for label in group["labels"]:
                label["name"] += "  "
        project["datasets"][0]["annotations"] += [calculated(project, 1)[0], calculated(project, 2)[0]]

    expected = open_competition(small).labels.read_bytes()
    edit(small, change)
    (small / ADJUDICATED).write_bytes(b"\xef\xbb\xbf" + (small / ADJUDICATED).read_bytes())
    assert open_competition(small).labels.read_bytes() == expected


def no_box(project):
    calculated(project, 1)[0]["data"] = None


def flat_box(project):
    calculated(project, 1)[0]["data"]["width"] = 0


def two_classes(project):
    project["datasets"][0]["annotations"] += [
        calculated(project, 1)[0] | {"labelId": calculated(project, 2)[0]["labelId"]}
    ]


def no_consensus(project):
    project["labelGroups"] = [group for group in project["labelGroups"] if group["name"] != "Calculated"]


def other_class(project):
    project["labelGroups"][4]["labels"][2]["name"] = "Maybe"


def unknown_study(project):
    calculated(project, 2)[0] |= {"SOPInstanceUID": None, "StudyInstanceUID": "9.9.9.9"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_box, "annotation A_000000 is an opacity of 1.2.3.1.2 without a box"),
        (flat_box, "without a box: x, y and a positive width and height in pixels"),
        (two_classes, "is Normal of 1.2.3.1.2, which is Lung Opacity too"),
        (no_consensus, "has no label group 'Calculated'"),
        (other_class, "has the label 'Maybe', which is none of the competition's classes"),
        (unknown_study, "names no image, and its study '9.9.9.9' is not known"),
        (lambda project: [], "has no labelGroups and datasets"),
        (lambda project: {"labelGroups": [{}], "datasets": [{}]}, "lack 'labels'"),
        (lambda project: project["datasets"][0]["annotations"].append({"a": 1}), "has no labelId"),
    ],
)
def test_faulty_annotations_are_named(small, change, says, capsys):
    edit(small, change)
    code, result = result_of(capsys, "check", f"data={small}")
    assert code == 2 and says in result["faults"][0]["what"]
    assert result["faults"][0]["file"] == str(small / ADJUDICATED)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{", b"[" * 100_000])
def test_a_file_that_is_not_json(small, content):
    (small / ADJUDICATED).write_bytes(content)
    with pytest.raises(BadInput, match=ADJUDICATED):
        open_competition(small)


def test_one_kaggle_id_for_two_images_is_refused(small):
    edit(small, lambda mapping: mapping[1].update(subset_img_id=mapping[0]["subset_img_id"]), MAPPINGS)
    with pytest.raises(BadInput, match=r"is the image 1\.2\.3\.1\.2 and the image 1\.2\.3\.2\.2 \(object 2\)"):
        open_competition(small)


def test_a_large_export_is_held_once(tmp_path):
    folder = export_of(draw_images(3_000, 300), tmp_path / "large")
    size = (folder / ADJUDICATED).stat().st_size
    tracemalloc.start()
    try:
        export = read_export(folder / ADJUDICATED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(export.annotations) > 6_000
    assert peak < 2.1 * size  # the text, and what is kept; a second copy of the text would be 2.8
