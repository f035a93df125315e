"""What else a run's numbers depend on: versions, commit, device, threads. Lies beside the run; `rerun` compares it."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pneumonia import config, schema
from pneumonia.system.processes import count_cores

PACKAGES = ("tensorflow", "keras", "keras-cv", "segmentation-models", "jax", "numpy", "albumentations",
            "opencv-python-headless", "pydicom", "safetensors",
            "nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12", "nvidia-cublas-cu12")  # fmt: skip
# with another one of these a run's numbers have other bits
OF_BITS = ("threads", "devices", "gpu", "processor", "precision", "packages", "learned_from")
TIMEOUT = 10.0  # seconds that another program may take to answer


def environment(experiment: schema.Experiment) -> dict:
    """environment.json, but for the data and what was learned from; None: not to be known."""
    import keras

    from pneumonia.runs.precision import on_gpu, precision_of

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    edited = git("status", "--porcelain", "--", "src", "experiments")
    return {
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "devices": [str(device) for device in keras.distribution.list_devices()],
        "gpu": gpu() if on_gpu() else None,
        "cores": count_cores(),
        "threads": threads(keras.backend.backend()),
        "precision": precision_of(experiment),
        "seed": experiment.seed,
        "processor": processor(),
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if edited is None else edited != "",
        "packages": versions,
    }


def git(*words: str) -> str | None:
    """What git says of the program's own repository; it takes no lock that a commit could wait for."""
    return output_of("git", "--no-optional-locks", "-C", str(config.REPOSITORY), *words)


def gpu() -> str | None:
    """Model and driver version of the machine's GPUs: "NVIDIA H100 80GB HBM3, 550.54.15"; None without nvidia-smi."""
    lines = output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return "; ".join(sorted(set(lines.splitlines()))) if lines else None


def output_of(*command: str) -> str | None:
    """What a program prints; None where it is not there, fails, or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def threads(backend: str) -> int:
    """Threads of one operation: what the backend's variable says, else one per core that the process may use."""
    return int(os.environ.get("NPROC" if backend == "jax" else "TF_NUM_INTRAOP_THREADS") or count_cores())


def processor() -> str:
    """The processor's name as a person knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def differences(then: dict, now: dict) -> dict[str, tuple]:
    """{dotted key: (then, now)} of what two environments say both, and differently; an older one says less, also of the
    packages."""
    known = then.keys() & now.keys()
    then, now = ({key: each[key] for key in known} for each in (then, now))
    changed = {key: (config.value_at(then, key), value) for key, value in config.difference(then, now).items()}
    return {key: pair for key, pair in changed.items() if not (key.startswith("packages.") and None in pair)}


def difference_text(changed: dict[str, tuple], keys: Sequence[str]) -> str:
    """Those of `differences` that are under one of the keys, for people."""
    ours = {key: each for key, each in changed.items() if key.split(".")[0] in keys}
    return ", ".join(f"{key} was {then} and is now {now}" for key, (then, now) in ours.items())
