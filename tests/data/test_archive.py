"""The competition's zip: unpacked once and whole, or refused with every unsafe member named."""

import stat
import zipfile

import pytest

from pneumonia import cli
from pneumonia.data.archive import unpacked
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
    opened = unpacked(archive, tmp_path / "cache")
    competition = open_competition(opened)
    assert set(competition.train_images) == set(open_competition(folder).train_images)
    stamp = opened.stat().st_mtime_ns
    assert unpacked(archive, tmp_path / "cache") == opened and opened.stat().st_mtime_ns == stamp
    assert len(list((tmp_path / "cache").iterdir())) == 1


def refused(tmp_path, members, **changes) -> list[str]:
    archive = zipped(tmp_path / "a.zip", members)
    with pytest.raises(BadInput) as caught:
        unpacked(archive, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert all(fault.file == str(archive) for fault in caught.value.faults)
    return [fault.what for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"/etc/passwd.csv": "a"}, "absolute"),
        ({"C:/a.csv": "a"}, "absolute"),
        ({"../a.csv": "a"}, "climbs"),
        ({"a/../../b.csv": "a"}, "climbs"),
        ({"..\\a.csv": "a"}, "climbs"),
        ({"a/x.csv": "a", "A/X.csv": "b"}, "collides"),
        ({"bomb.csv": b"0" * 50_000_000}, "unpacks from"),
        ({"bomb.dcm": b"0" * 300_000_000}, "unpacks to"),
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
        unpacked(tmp_path / "a.zip", tmp_path / "cache")


def test_every_unsafe_member_is_named(tmp_path):
    assert len(refused(tmp_path, {"../a.csv": "a", "/b.csv": "b", "good.csv": "c"})) == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\0" * 100])
def test_not_a_zip(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadInput, match="download it again"):
        unpacked(tmp_path / "a.zip", tmp_path / "cache")


def test_a_damaged_member_leaves_nothing_behind(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.csv": "patientId\n" * 1000, "b.csv": "x" * 500})
    content = bytearray(archive.read_bytes())
    content[45] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(BadInput, match="download it again"):
        unpacked(archive, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_command_line_takes_a_zip(tmp_path, capsys):
    assert cli.main(["check", f"data={zipped(tmp_path / 'a.zip', {'../a.csv': 'a'})}"]) == 2
    assert "climbs" in "".join(capsys.readouterr())
