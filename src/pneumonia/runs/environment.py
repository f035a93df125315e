"""environment.json: versions, commit, device and threads that a run's numbers depend on. `rerun` compares it."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pneumonia import config, schema
from pneumonia.system.processes import count_cores
from pneumonia.system.switches import ONEDNN

PACKAGES = ("tensorflow", "keras", "keras-cv", "segmentation-models", "jax", "numpy", "albumentations",
            "opencv-python-headless", "pydicom", "safetensors",
            "nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12", "nvidia-cublas-cu12")  # fmt: skip
# if one of these changes, results will not be bit-identical
BIT_KEYS = ("threads", "devices", "gpu", "processor", "onednn", "precision", "packages", "learned_from")
TIMEOUT = 10.0  # seconds that git and nvidia-smi may take


def environment(experiment: schema.Experiment) -> dict:
    """Return the content of environment.json, without data hashes and `learned_from`; None for unknown values."""
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
        "onednn": os.environ.get(ONEDNN) if keras.backend.backend() == "tensorflow" else None,
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if edited is None else edited != "",
        "packages": versions,
    }


def git(*args: str) -> str | None:
    """Return the output of a git command on this repository; it takes no lock that a commit could wait for."""
    return run_program("git", "--no-optional-locks", "-C", str(config.REPOSITORY), *args)


def gpu() -> str | None:
    """Return the GPUs' model and driver version, "NVIDIA H100 80GB HBM3, 550.54.15"; None without nvidia-smi."""
    lines = run_program("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return "; ".join(sorted(set(lines.splitlines()))) if lines else None


def run_program(*command: str) -> str | None:
    """Return what a program prints; None if it does not exist, fails, or takes longer than TIMEOUT."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout.strip()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def threads(backend: str) -> int:
    """Return the threads of one operation: the backend's environment variable, else the cores of this process."""
    return int(os.environ.get("NPROC" if backend == "jax" else "TF_NUM_INTRAOP_THREADS") or count_cores())


def processor() -> str:
    """Return the processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def differences(then: dict, now: dict) -> dict[str, tuple]:
    """Return {dotted key: (then, now)} of the values that differ between two environments. Keys and packages that only
    one of them has are left out."""
    common = then.keys() & now.keys()
    then, now = ({key: values[key] for key in common} for values in (then, now))
    changed = {key: (config.value_at(then, key), value) for key, value in config.difference(then, now).items()}
    return {key: pair for key, pair in changed.items() if not (key.startswith("packages.") and None in pair)}


def difference_text(changed: dict[str, tuple], keys: Sequence[str]) -> str:
    """Return those of `differences` that are under one of the keys, as text."""
    selected = {key: pair for key, pair in changed.items() if key.split(".")[0] in keys}
    return ", ".join(f"{key} was {then} and is now {now}" for key, (then, now) in selected.items())
