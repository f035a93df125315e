"""Which allocator a process has, read from the process itself."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pneumonia.jobs.job import job_environment
from pneumonia.system import allocator
from pneumonia.system.allocator import with_allocator

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = Path(sysconfig.get_path("platlib"), "ray", "core", "libjemalloc.so")
pytestmark = pytest.mark.skipif(sys.platform != "linux" or not LIBRARY.exists(), reason="Ray's wheel has no jemalloc")
BARE = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "MALLOC_", "PNEUMONIA_"))}
HAS_JEMALLOC = 'print("libjemalloc" in open("/proc/self/maps").read())'


def has_jemalloc(environment, *command):
    """Whether a process in this environment has jemalloc; neither it nor the loader may complain."""
    command = command or (sys.executable, "-c", HAS_JEMALLOC)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return {"True\n": True, "False\n": False}[done.stdout]


def test_a_process_has_jemalloc_which_keeps_its_pages():
    environment = with_allocator(BARE)
    assert not has_jemalloc(BARE) and has_jemalloc(environment)
    assert environment["MALLOC_CONF"] == "dirty_decay_ms:-1,muzzy_decay_ms:-1"
    assert with_allocator(environment) == environment


def test_jobs_have_it(monkeypatch):
    for name in set(os.environ) - set(BARE):
        monkeypatch.delenv(name)
    assert has_jemalloc(job_environment())
    monkeypatch.setenv("PNEUMONIA_ALLOCATOR", "system")
    assert not has_jemalloc(job_environment())


def test_what_the_user_set_stays(tmp_path):
    theirs = BARE | {"MALLOC_CONF": "narenas:1", "LD_PRELOAD": "libm.so.6", "LD_LIBRARY_PATH": "/theirs"}
    (tmp_path / "with space").mkdir()
    library = shutil.copy(LIBRARY, tmp_path / "with space")
    environment = with_allocator(theirs, Path(library))
    assert has_jemalloc(environment)
    assert environment["MALLOC_CONF"].endswith(",narenas:1") and environment["LD_PRELOAD"].startswith("libm.so.6 ")
    assert environment["LD_LIBRARY_PATH"] == f"{tmp_path / 'with space'}:/theirs"
    for left in ({"PNEUMONIA_ALLOCATOR": "system"}, {"LD_PRELOAD": "/usr/lib/libtcmalloc.so"}):
        assert with_allocator(BARE | left) == BARE | left


@pytest.mark.parametrize("content", [None, b"no library"])
def test_where_none_can_be_loaded_glibc_is_set(tmp_path, content):
    library = tmp_path / "libjemalloc.so"
    if content:
        library.write_bytes(content)
    environment = with_allocator(BARE | {"MALLOC_ARENA_MAX": "2"}, library)
    assert environment == BARE | allocator.GLIBC | {"MALLOC_ARENA_MAX": "2"}
    assert not has_jemalloc(environment)


def test_the_entry_gives_it_to_every_command_in_a_folder_with_a_space(tmp_path):
    """A copy of run.sh beside this virtual environment and a package that only says what it was started with."""
    here = tmp_path / "with space"
    (here / "src" / "pneumonia" / "system").mkdir(parents=True)
    shutil.copy(REPOSITORY / "run.sh", here)
    shutil.copy(allocator.__file__, here / "src" / "pneumonia" / "system")
    (here / ".venv").symlink_to(sys.prefix)
    (here / "src" / "pneumonia" / "__main__.py").write_text(f"{HAS_JEMALLOC}\n")
    assert has_jemalloc(BARE, str(here / "run.sh"), "help")  # help, which installs nothing
    assert not has_jemalloc(BARE | {"PNEUMONIA_ALLOCATOR": "system"}, str(here / "run.sh"), "help")
