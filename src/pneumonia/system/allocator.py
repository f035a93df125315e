"""`python allocator.py COMMAND...` becomes COMMAND, with a memory allocator that suits TensorFlow on a CPU.

glibc gives the memory of large tensors back to the system after every step and takes it anew at the next: half of a
training's time on a CPU went into page faults. jemalloc, told to keep what it has, computes the same bits in half the
processor time or less (benchmarks/allocator.py). Ray's wheel, which the lock installs, brings one. Where there is none
that can be loaded (macOS, another libc), glibc is set to keep its memory: part of the same gain.

PNEUMONIA_ALLOCATOR=system leaves everything as the system has it. So does a malloc that LD_PRELOAD already names.
"""

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

OPT_OUT = "PNEUMONIA_ALLOCATOR"
JEMALLOC = {"MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}  # freed pages stay with the process
# One arena; hardly a block that is mapped alone, as far as glibc lets itself be told; nothing returned at the top.
GLIBC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**30),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
}


def with_allocator(environment: Mapping[str, str], library: Path | None = None) -> dict[str, str]:
    """An environment whose processes allocate as described above.

    Args:
        environment: what it is made from; what the user set in it stays.
        library: a libjemalloc; None takes the one of Ray's wheel.
    """
    environment = dict(environment)
    preloaded = environment.get("LD_PRELOAD", "")
    if environment.get(OPT_OUT, "") == "system" or "malloc" in preloaded:
        return environment
    added = preload(library or Path(sysconfig.get_path("platlib"), "ray", "core", "libjemalloc.so"), environment)
    if not added:
        return GLIBC | environment
    if theirs := environment.get("MALLOC_CONF"):  # the last of two options holds: theirs
        added["MALLOC_CONF"] += f",{theirs}"
    return environment | added


def preload(library: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that load a library into every process; none where it is not there or cannot be loaded."""
    if not library.is_file() or ":" in str(library):
        return {}
    added = dict(JEMALLOC)
    name = str(library)
    if " " in name:  # LD_PRELOAD splits at spaces, LD_LIBRARY_PATH does not
        name = library.name
        added["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(library.parent), environment.get("LD_LIBRARY_PATH")]))
    added["LD_PRELOAD"] = " ".join(filter(None, [environment.get("LD_PRELOAD"), name]))
    return added if loads(added) else {}


def loads(added: Mapping[str, str]) -> bool:
    """Whether a process starts with these variables and says nothing: the loader complains, but goes on without."""
    reader, writer = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, writer, 2), (os.POSIX_SPAWN_CLOSE, reader)]
        child = os.posix_spawn("/bin/true", ["true"], dict(added), file_actions=actions)
    except OSError:  # there is no /bin/true
        return False
    finally:
        os.close(writer)
    with open(reader, "rb") as said:
        complaint = said.read()
    return os.waitpid(child, 0)[1] == 0 and not complaint


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], with_allocator(os.environ))
