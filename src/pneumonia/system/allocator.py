"""`python allocator.py COMMAND...` replaces itself by COMMAND, with a memory allocator that suits TensorFlow on a CPU.

glibc returns the memory of large tensors to the system after every step and asks for it again at the next. That took
half of a training's time on a CPU, until freed_memory.py ended most of it; jemalloc, set to keep its memory, computes
the same bits in 7 % less processor time than glibc since (benchmarks/allocator.py). Ray's wheel, which the lock
installs, contains it. Where it cannot be loaded (macOS, another libc), glibc is set to keep its memory.

PNEUMONIA_ALLOCATOR=system changes nothing. Neither does this program where LD_PRELOAD names a malloc already.
"""

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

OPT_OUT = "PNEUMONIA_ALLOCATOR"
JEMALLOC = {"MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}  # freed pages stay with the process
# One arena; blocks up to the largest threshold that glibc takes come from it; no memory is returned at its top.
GLIBC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**30),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
}


def with_allocator(environment: Mapping[str, str], library: Path | None = None) -> dict[str, str]:
    """Return a copy of `environment` whose processes allocate as described above.

    Args:
        environment: variables; those that the user has set are kept.
        library: a libjemalloc; None takes the one of Ray's wheel.
    """
    environment = dict(environment)
    preloaded = environment.get("LD_PRELOAD", "")
    if environment.get(OPT_OUT, "") == "system" or "malloc" in preloaded:
        return environment
    library = library or Path(sysconfig.get_path("platlib"), "ray", "core", "libjemalloc.so")
    variables = preload_variables(library, environment)
    if not variables:
        return GLIBC | environment
    if user_options := environment.get("MALLOC_CONF"):  # of two values of one option jemalloc takes the last
        variables["MALLOC_CONF"] += f",{user_options}"
    return environment | variables


def preload_variables(library: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that load a library into every process; empty where it does not exist or cannot be loaded."""
    if not library.is_file() or ":" in str(library):
        return {}
    variables = dict(JEMALLOC)
    name = str(library)
    if " " in name:  # LD_PRELOAD splits at spaces, LD_LIBRARY_PATH does not
        name = library.name
        variables["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(library.parent), environment.get("LD_LIBRARY_PATH")]))
    variables["LD_PRELOAD"] = " ".join(filter(None, [environment.get("LD_PRELOAD"), name]))
    return variables if can_start(variables) else {}


def can_start(variables: Mapping[str, str]) -> bool:
    """Whether a process starts with these variables and no warning: the loader goes on without a library, and warns."""
    reader, writer = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, writer, 2), (os.POSIX_SPAWN_CLOSE, reader)]
        child = os.posix_spawn("/bin/true", ["true"], dict(variables), file_actions=actions)
    except OSError:  # there is no /bin/true
        return False
    finally:
        os.close(writer)
    with open(reader, "rb") as stderr:
        warning = stderr.read()
    return os.waitpid(child, 0)[1] == 0 and not warning


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], with_allocator(os.environ))
