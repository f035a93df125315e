"""`fetch` with kagglehub's own client against a server on loopback: errors, broken and killed downloads, the check."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from kaggle_server import TOKEN, kaggle_server
from kagglesdk import kaggle_env

from pneumonia import cli
from pneumonia.demo import competition as phantom
from pneumonia.system import kaggle
from pneumonia.system.files import exclusive_lock

MIB = 1 << 20  # kagglehub writes this much at once


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """The zip of a small competition, as Kaggle packs one."""
    folder = phantom.generate(tmp_path_factory.mktemp("made") / "rsna", train_images=6, test_images=2)
    (folder / "mapping.csv").unlink(missing_ok=True)
    (folder / "test_labels.csv").unlink(missing_ok=True)
    (folder / "GCP Credits.bin").write_bytes(np.random.default_rng(0).bytes(3_000_000))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            file.write(path, path.relative_to(folder).as_posix())
    return content.getvalue()


@pytest.fixture
def server(archive, tmp_path, monkeypatch):
    with kaggle_server() as server:
        server.archive = archive
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.address)
        for name, value in account(tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(kaggle, "WAIT", 0.0)
        yield server


def account(tmp_path: Path) -> dict[str, str]:
    """The environment of an account, whose token is in none of the real files."""
    return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "KAGGLE_API_TOKEN": TOKEN, "KAGGLE_CONFIG_DIR": str(tmp_path),
            "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}  # fmt: skip


def fetch(capsys, out: Path, *words: str) -> tuple[int, dict, str]:
    code = cli.main(["fetch", f"out={out}", "json=true", *words])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_competition_is_downloaded_unpacked_and_checked(server, archive, tmp_path, capsys):
    out = tmp_path / "new" / "rsna (1)"
    code, result, said = fetch(capsys, out)
    assert code == 0 and result["faults"] == [] and result["folder"] == str(out), said
    assert files_of(out) == contents(archive)
    assert list(out.parent.iterdir()) == [out]  # nothing is left of the download
    assert "\r" not in said
    code, _, said = fetch(capsys, out)
    assert code == 0 and "is there already, and is only checked" in said
    assert server.requests["DownloadDataFiles"] == 1


def test_a_fault_of_the_downloaded_folder_is_told(server, archive, tmp_path, capsys):
    whole = contents(archive)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in whole.items():
            file.writestr(name, data.replace(b",1\n", b",7\n") if name == "stage_2_train_labels.csv" else data)
    server.archive = content.getvalue()
    code, result, _ = fetch(capsys, tmp_path / "rsna")
    assert code == 2 and result["faults"] and result["faults"][0]["file"].endswith("stage_2_train_labels.csv")


def test_a_connection_that_breaks_again_and_again_continues_where_it_was(server, archive, tmp_path, capsys):
    server.breaks = [MIB + 9, None, 2 * MIB, None, 500]  # a resumed download asks for the whole, and then for the rest
    code, _, said = fetch(capsys, tmp_path / "rsna")
    assert code == 0, said
    assert server.ranges == [MIB, 3 * MIB, 3 * MIB]
    assert said.count("trying again") == 3
    assert files_of(tmp_path / "rsna") == contents(archive)


def test_a_connection_that_stays_broken_ends_and_the_next_call_continues(server, archive, tmp_path, capsys):
    server.breaks = [MIB + 9, *[None, 0] * kaggle.TRIES]
    code, result, _ = fetch(capsys, tmp_path / "rsna")
    assert code == 3 and "the same command continues" in result["error"]
    assert not (tmp_path / "rsna").exists()
    server.ranges.clear()
    code, _, said = fetch(capsys, tmp_path / "rsna")
    assert code == 0, said
    assert server.ranges == [MIB] and files_of(tmp_path / "rsna") == contents(archive)


DRIVER = """
import sys
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.LOCAL] = sys.argv[1]
from pneumonia import cli
sys.exit(cli.main(["fetch", f"out={sys.argv[2]}"]))
"""


def test_a_killed_download_continues_where_it_was(server, archive, tmp_path, capsys):
    server.breaks = [2 * MIB + 9]
    server.is_open.clear()  # the connection hangs there
    env = {**os.environ, **account(tmp_path), "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-P", "-c", DRIVER, server.address, str(tmp_path / "rsna")], env=env)
    part = tmp_path / ".rsna.download" / "competitions" / f"{kaggle.COMPETITION}.archive"
    while not part.is_file() or part.stat().st_size < 2 * MIB:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.is_open.set()
    code, _, said = fetch(capsys, tmp_path / "rsna")
    assert code == 0, said
    assert server.ranges == [2 * MIB]
    assert files_of(tmp_path / "rsna") == contents(archive)


@pytest.mark.parametrize("has_checksum", [True, False])
def test_a_damaged_download_is_removed_and_begun_again(server, archive, tmp_path, capsys, has_checksum):
    server.has_checksum = has_checksum
    part = tmp_path / ".rsna.download" / "competitions" / f"{kaggle.COMPETITION}.archive"
    part.parent.mkdir(parents=True)
    part.write_bytes(np.random.default_rng(1).bytes(3000))  # of another file
    code, _, said = fetch(capsys, tmp_path / "rsna")
    assert code == 0, said
    assert "is removed" in said and server.ranges == [3000]
    assert files_of(tmp_path / "rsna") == contents(archive)


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        ([(403, {"code": 403, "message": "Forbidden"})], f"accept the competition's rules at {kaggle.PAGE}/rules"),
        ([(401, {"code": 401, "message": "Unauthenticated"})], "create another one at https://www.kaggle.com/settings"),
        ([(404, {"code": 404, "message": "Not\nfound"})], "Kaggle answers 404: Not found; see https://www.kaggle.com/"),
        ([(200, {"code": 400, "message": "Bad request"})], "Bad request"),
        ([(503, b"busy")] * 9, "Kaggle answers 503; 0 MB are kept"),
    ],
)  # fmt: skip
def test_what_kaggle_refuses_is_one_line_with_the_page_to_visit(server, tmp_path, capsys, errors, says):
    server.errors["DownloadDataFiles"] = errors
    code, result, said = fetch(capsys, tmp_path / "rsna")
    assert code == 3 and says in result["error"]
    assert said.splitlines()[-1] == f"error: {result['error']}"
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_an_expired_address_of_the_store_is_asked_for_again(server, tmp_path, capsys):
    server.errors["GET"] = [(403, b"<Error>expired</Error>")]
    code, _, said = fetch(capsys, tmp_path / "rsna")
    assert code == 0 and "Kaggle answers 403; 0 MB have arrived, trying again" in said
    assert server.requests["DownloadDataFiles"] == 2


def test_without_a_token_and_without_a_connection(server, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    code, result, _ = fetch(capsys, tmp_path / "rsna")
    assert code == 3 and "no Kaggle token: create one at https://www.kaggle.com/settings" in result["error"]
    (tmp_path / "kaggle.json").write_text("{")
    code, result, _ = fetch(capsys, tmp_path / "rsna")
    assert code == 3 and "Invalid Kaggle credentials file" in result["error"]
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, "http://127.0.0.1:9")
    code, result, _ = fetch(capsys, tmp_path / "rsna")
    assert code == 3 and "the connection to Kaggle failed" in result["error"]


def test_in_a_notebook_at_kaggle_the_files_are_mounted_and_only_checked(server, archive, tmp_path, capsys, monkeypatch):
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        file.extractall(tmp_path / "input" / "mounted")
    environment = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "KAGGLE_DATA_PROXY_URL": server.address}
    environment |= {"KAGGLE_USER_SECRETS_TOKEN": "a", "KAGGLE_DATA_PROXY_TOKEN": "b"}
    for name, value in (environment | {"KAGGLE_CACHE_MOUNT_FOLDER": str(tmp_path / "input")}).items():
        monkeypatch.setenv(name, value)
    code, result, said = fetch(capsys, tmp_path / "rsna")
    assert code == 0 and result["folder"] == str(tmp_path / "input" / "mounted"), said
    assert "Kaggle has mounted the competition here" in said
    assert [path.name for path in tmp_path.iterdir()] == ["input"]


def test_a_folder_with_other_files_is_left_alone(server, tmp_path, capsys):
    (tmp_path / "rsna").mkdir()
    (tmp_path / "rsna" / "notes.txt").write_text("mine")
    code, result, _ = fetch(capsys, tmp_path / "rsna")
    assert code == 2 and result["error"][0]["what"] == "has other files"
    code, result, _ = fetch(capsys, tmp_path / "rsna" / "notes.txt")
    assert code == 2 and not server.requests


def test_a_second_fetch_leaves_what_the_first_one_has(server, tmp_path, capsys):
    cache = tmp_path / ".rsna.download"
    with exclusive_lock(cache / "lock", "the download of rsna"):
        (cache / "begun").write_text("x")
        code, result, _ = fetch(capsys, tmp_path / "rsna")
        assert code == 3 and "the download of rsna" in result["error"]
        assert (cache / "begun").exists() and (cache / "lock").exists()
