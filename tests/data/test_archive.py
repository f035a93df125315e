"""The competition's zip: unpacked once and whole, or refused with every unsafe member named."""

import io
import stat
import zipfile

import pytest

from pneumonia import cli, config
from pneumonia.data.archive import unpack_once
from pneumonia.data.competition import open_competition
from pneumonia.demo import competition as phantom
from pneumonia.system.errors import BadInput


def zipped(path, members: dict[str, bytes | str]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_zip_of_a_competition_is_that_competition(tmp_path):
    folder = phantom.generate(tmp_path / "rsna", train_images=6, test_images=2)
    files = [path for path in folder.rglob("*") if path.is_file()]
    archive = zipped(tmp_path / "rsna.zip", {str(path.relative_to(folder)): path.read_bytes() for path in files})
    opened = unpack_once(archive, tmp_path / "cache")
    competition = open_competition(opened)
    assert set(competition.train_images) == set(open_competition(folder).train_images)
    stamp = opened.stat().st_mtime_ns
    assert unpack_once(archive, tmp_path / "cache") == opened and opened.stat().st_mtime_ns == stamp
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """The members of a competition's zip."""
    folder = phantom.generate(tmp_path_factory.mktemp("demo") / "rsna", train_images=4, test_images=2, workers=1)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_zip(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def zip_of_zips(files: dict[str, bytes], folders_inside: bool) -> dict[str, bytes]:
    """Each table and each folder of images in a zip of its own."""
    members = {}
    for part in ("stage_2_train_images", "stage_2_test_images"):
        images = {name: content for name, content in files.items() if name.startswith(part)}
        start = 0 if folders_inside else len(part) + 1
        members[f"{part}.zip"] = as_zip({name[start:]: content for name, content in images.items()})
    tables = {name: content for name, content in files.items() if "/" not in name}
    return members | {f"{name}.zip": as_zip({name: content}) for name, content in tables.items()}


SPELLINGS = {
    "backslashes": lambda files: {f"rsna\\{name}".replace("/", "\\"): each for name, each in files.items()},
    "two folders deep": lambda files: {f"input/rsna/{name}": each for name, each in files.items()},
    "four folders deep": lambda files: {f"a/b/c/d/{name}": each for name, each in files.items()},
    "zips inside": lambda files: zip_of_zips(files, folders_inside=False),
    "zips with their folder inside": lambda files: zip_of_zips(files, folders_inside=True),
    "zips in a folder": lambda files: {f"x/{name}": each for name, each in zip_of_zips(files, False).items()},
    "a zip of the zip": lambda files: {"rsna.zip": as_zip(files)},
    "companions of macOS": lambda files: (
        files | {f"__MACOSX/{name}": b"junk" for name in files} | {"stage_2_train_images/._a.dcm": b"junk"}
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_however_the_zip_was_made_it_is_that_competition(files, tmp_path, monkeypatch, spelling):
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    competition = open_competition(zipped(tmp_path / "rsna.zip", SPELLINGS[spelling](files)))
    assert len(competition.train_images) == 4 and len(competition.test_images) == 2
    for table in (competition.labels, competition.classes, competition.sample, competition.mapping):
        assert table.read_bytes() == files[table.name]
    assert not list(competition.root.rglob("*.zip"))


def test_what_is_inside_another_zip_is_named(files, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    with pytest.raises(BadInput, match=r"has no stage_2_train_labels.csv; inside are a.csv, b.csv, c.csv and 1 more"):
        open_competition(zipped(tmp_path / "a.zip", {f"{name}.csv": "x" for name in "abcd"}))
    with pytest.raises(BadInput, match="inside are no tables and no images"):
        open_competition(zipped(tmp_path / "b.zip", {"holiday.mov": "x"}))
    with pytest.raises(BadInput, match="in several folders: one, two"):
        members = {f"{each}/stage_2_train_labels.csv": "x" for each in ("one", "two")}
        open_competition(zipped(tmp_path / "c.zip", members))


def test_zips_inside_are_as_safe_as_the_outer_one(files, tmp_path):
    assert "outside the folder" in refused(tmp_path, {"stage_2_train_images.zip": as_zip({"../a.dcm": b"a"})})[0]
    assert "the zip x.zip inside cannot be read" in refused(tmp_path, {"x.zip": b"PK"})[0]
    deep = as_zip({"a.csv": b"a"})
    for number in range(3):
        deep = as_zip({f"{number}.zip": deep})
    assert "zips inside each other" in refused(tmp_path, {"3.zip": deep})[0]


def refused(tmp_path, members, **changes) -> list[str]:
    archive = zipped(tmp_path / "a.zip", members)
    with pytest.raises(BadInput) as caught:
        unpack_once(archive, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))
    assert all(fault.file == str(archive) for fault in caught.value.faults)
    return [fault.what for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"/etc/passwd.csv": "a"}, "absolute"),
        ({"C:/a.csv": "a"}, "absolute"),
        ({"../a.csv": "a"}, "outside the folder"),
        ({"a/../../b.csv": "a"}, "outside the folder"),
        ({"..\\a.csv": "a"}, "outside the folder"),
    ],
)
def test_unsafe_members_are_refused_before_anything_is_written(tmp_path, members, says):
    assert says in refused(tmp_path, members)[0]


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("a.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BadInput, match="link"):
        unpack_once(tmp_path / "a.zip", tmp_path / "cache")


def test_every_unsafe_member_is_named(tmp_path):
    assert len(refused(tmp_path, {"../a.csv": "a", "/b.csv": "b", "good.csv": "c"})) == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\0" * 100])
def test_not_a_zip(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadInput, match="download it again"):
        unpack_once(tmp_path / "a.zip", tmp_path / "cache")


def test_a_damaged_member_leaves_nothing_behind(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.csv": "patientId\n" * 1000, "b.csv": "x" * 500})
    content = bytearray(archive.read_bytes())
    content[45] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(BadInput, match="download it again"):
        unpack_once(archive, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_command_line_takes_a_zip(tmp_path, capsys):
    assert cli.main(["check", f"data={zipped(tmp_path / 'a.zip', {'../a.csv': 'a'})}"]) == 2
    assert "outside the folder" in "".join(capsys.readouterr())


def test_what_a_folder_may_have_is_unpacked_too(tmp_path):
    kept = ["stage_1_test_ids.txt", "stage_2_train_images/IM0001", "stage_2_train_images/a.dcm"]
    archive = zipped(tmp_path / "a.zip", dict.fromkeys([*kept, "README", "notes.txt", "other/IM0001"], "x"))
    opened = unpack_once(archive, tmp_path / "cache")
    assert sorted(path.relative_to(opened).as_posix() for path in opened.rglob("*") if path.is_file()) == sorted(kept)
