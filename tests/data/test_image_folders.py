"""Which files of a folder are images, and what they are called."""

import os

import pytest

from pneumonia.data.image_folders import find_images, images_of

DICOM, PNG, JPEG = bytes(128) + b"DICM" + bytes(50), b"\x89PNG\r\n\x1a\n" + bytes(50), b"\xff\xd8\xff\xe0" + bytes(50)


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of {path: content}."""

    def make(files: dict[str, bytes]):
        for name, content in files.items():
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "images"

    return make


def ids(place) -> list[str]:
    return list(find_images(place).files)


def test_images_are_found_by_content_whatever_they_are_called(folder):
    place = folder(
        {"a.dcm": DICOM, "b.dicom": DICOM, "c": DICOM, "D.DCM": DICOM, "e.png": PNG, "f.jpeg": JPEG, "g.dat": PNG,
         "1.2.840.113619.2": DICOM, "1.2.840.113619.3": DICOM, "deep/er/h": JPEG, "wrong.dcm": JPEG,
         "notes.txt": b"text", "table.csv": b"patientId,x\n", "i.tif": b"II*\0" + bytes(200), "empty": b""}
    )  # fmt: skip
    found = find_images(place)
    assert set(found.files) == {
        "a", "b", "c", "D", "e", "f", "g.dat", "1.2.840.113619.2", "1.2.840.113619.3", "deep/er/h", "wrong"
    }  # fmt: skip
    assert found.others == 4
    assert all(path.is_file() for path in found.files.values())


def test_companions_are_no_files_at_all(folder):
    place = folder(
        {"a.dcm": DICOM, "._a.dcm": b"\0\5\x16\7", ".DS_Store": DICOM, "Thumbs.db": JPEG, "desktop.ini": b"",
         "__MACOSX/._a.dcm": b"", "__MACOSX/b.dcm": DICOM, ".git/x.png": PNG, "@eaDir/a.jpg": JPEG}
    )  # fmt: skip
    found = find_images(place)
    assert list(found.files) == ["a"] and found.others == 0
    assert list(images_of(place).files) == ["a"]


def test_a_file_named_as_an_image_is_not_overlooked(folder, tmp_path):
    place = folder({"a.dcm": b"", "b.jpg": b"<html>", "c.dat": b"<html>"})
    (place / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(place / "pipe.dcm")  # opening it would wait for ever
    assert ids(place) == ["a", "b", "gone"]


def test_files_of_one_name_are_told_apart_by_their_folder(folder):
    place = folder({"s1/IM-0001.dcm": DICOM, "s2/IM-0001.dcm": DICOM, "s2/IM-0002": DICOM})
    assert ids(place) == ["s1/IM-0001", "s2/IM-0001", "s2/IM-0002"]
    assert ids(place / "s2") == ["IM-0001", "IM-0002"]
    assert ids(place / "s2" / "IM-0001.dcm") == ["IM-0001"]


def test_an_id_does_not_depend_on_what_else_is_there(folder):
    """But for files of one folder that differ in nothing but their suffix."""
    place = folder({"s1/a.dcm": DICOM})
    assert ids(place) == ["s1/a"]
    folder({"s2/a.dcm": DICOM, "a.dcm": DICOM, "s1/b.dcm": DICOM, "s1/a/a.dcm": DICOM})
    assert find_images(place).files["s1/a"] == place / "s1" / "a.dcm"
    folder({"s2/a.png": PNG})
    assert sorted(ids(place)) == ["a", "s1/a", "s1/a/a", "s1/b", "s2/a.dcm", "s2/a.png"]
    folder({"s2/a.png.jpg": JPEG})
    assert {"s2/a.dcm", "s2/a.png", "s2/a.png.jpg"} < set(ids(place))


def test_links_are_followed_and_never_in_a_circle(folder, tmp_path):
    place = folder({"a.dcm": DICOM, "sub/b.dcm": DICOM})
    (place / "sub" / "circle").symlink_to(place)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.png").write_bytes(PNG)
    (place / "linked").symlink_to(elsewhere)
    (place / "d.dcm").symlink_to(place / "a.dcm")
    assert ids(place) == ["a", "d", "linked/c", "sub/b"]


def test_a_name_that_is_no_text_becomes_one(folder):
    place = folder({"a.dcm": DICOM})
    (place / os.fsdecode(b"r\xf6ntgen.dcm")).write_bytes(DICOM)
    assert ids(place) == ["a", "r\\xf6ntgen"]


def test_what_is_to_be_left_out_is_no_image(folder):
    place = folder({"a.dcm": DICOM, "a.jpg": JPEG, "a.csv": b"patientId"})
    found = find_images(place, [place / "a.jpg", place / "a.csv"])
    assert list(found.files) == ["a"] and found.others == 0


def test_a_competitions_images_are_those_of_the_folder_itself(folder):
    place = folder(
        {"b.png": PNG, "a.dcm": DICOM, "a-b.jpg": JPEG, "c.jpeg": JPEG, "d": DICOM, "notes.txt": b"text",
         "sub/e.png": PNG, "1.2.3": DICOM}
    )  # fmt: skip
    found = images_of(place)
    assert list(found.files) == ["1.2.3", "a-b", "a", "b", "c", "d"] and not found.faults
    assert found.files["a-b"] == place / "a-b.jpg"
    assert images_of(place / "nowhere").files == {}


def test_two_files_of_one_id_are_a_fault(folder):
    place = folder({"a.dcm": DICOM, "a.png": PNG, "a": DICOM, "b.png": PNG, "c.png": PNG, "c.PNG": PNG})
    found = images_of(place)
    assert [(fault.code, fault.file) for fault in found.faults] == [
        ("two-files", str(place / name)) for name in ("a.dcm", "a.png", "c.png")
    ]
    assert "besides a;" in str(found.faults[0]) and "besides c.PNG;" in str(found.faults[2])
    assert list(found.files) == ["a", "b", "c"]
