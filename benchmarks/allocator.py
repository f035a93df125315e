"""Cost of a training on a CPU with each memory allocator, and whether its weights are bit-identical.

    PYTHONPATH=src .venv/bin/python benchmarks/allocator.py [experiment=yolov8_xs] [preset=quick] [epochs=1] [turns=1]

The command `train experiment=... data=demo` runs with the system's allocator, with glibc's tuned settings (used on a
machine without jemalloc) and with jemalloc, in turns; system/allocator.py has the settings. Each line gives processor
time of the whole command (start, tracing, training, prediction), page faults, memory of the largest process and wall
time; ratios are the system allocator's time over each. It ends with an error if the weights differ in a single bit.
YOLOv8-xs, 2 cores of an AMD EPYC without AVX-512, idle: 219 s of processor time with the system's allocator, 215 with
glibc's settings, 205 with jemalloc; the same weights. Until system/freed_memory.py jemalloc took half of the system's.
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pneumonia import config
from pneumonia.jobs.job import job_environment
from pneumonia.schema import setting
from pneumonia.system.allocator import GLIBC, OPT_OUT


@dataclass
class Settings:
    experiment: str = setting("yolov8_xs", "what is trained")
    preset: str = setting("quick", "of the experiment and the demo")
    epochs: int = setting(1, "of every training")
    turns: int = setting(1, "trainings with each allocator; the one of least processor time counts")


@dataclass(frozen=True)
class Cost:
    """Seconds (processor and wall), page faults and bytes of the largest process, of a command with its children."""

    user: float
    system: float
    faults: int
    memory: int
    wall: float
    weights: str = ""

    @property
    def processor(self) -> float:
        return self.user + self.system


def environments() -> dict[str, dict[str, str]]:
    """Return the environment variables of each allocator, also if this program was itself started with one of them."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LD_PRELOAD", "MALLOC_"))}
    os.environ.clear()
    os.environ.update(bare)
    jemalloc = job_environment()
    if "LD_PRELOAD" not in jemalloc:
        raise SystemExit("libjemalloc cannot be loaded here")
    return {
        "system": jemalloc | bare | {OPT_OUT: "system", "LD_PRELOAD": ""},
        "glibc, set": jemalloc | bare | GLIBC | {OPT_OUT: "system", "LD_PRELOAD": ""},
        "jemalloc": jemalloc,
    }


def prepare(settings: Settings, environment: dict[str, str]) -> None:
    """Make the demo and its cache, so that no training's time includes them."""
    size = config.read_experiment(settings.experiment, settings.preset).image_size
    args = ("ingest", "data=demo", f"preset={settings.preset}", f"image_size={size}")
    subprocess.run([sys.executable, "-P", "-m", "pneumonia", *args], env=environment, stdout=2, check=True)


def train(settings: Settings, environment: dict[str, str], out: Path) -> Cost:
    """Train once in a folder of its own.

    Raises:
        SystemExit: the command failed; its log's end is in the message.
    """
    changes = {"experiment": settings.experiment, "preset": settings.preset, "epochs": settings.epochs}
    changes |= {"fold": 0, "data": "demo", "out": out}
    words = [f"{key}={value}" for key, value in changes.items()]
    out.mkdir()
    cost = measure([sys.executable, "-P", "-m", "pneumonia", "train", *words], environment, out / "log")
    (weights,) = out.rglob("weights.safetensors")
    return dataclasses.replace(cost, weights=hashlib.sha256(weights.read_bytes()).hexdigest())


def measure(command: list[str], environment: dict[str, str], log: Path) -> Cost:
    """Run a command, its output into `log`.

    Raises:
        SystemExit: it failed; its log's end is in the message.
    """
    with log.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime, usage.ru_stime, usage.ru_minflt, usage.ru_maxrss * unit, wall)


def line(name: str, cost: Cost, base: Cost) -> str:
    ratio = base.processor / cost.processor
    return (
        f"{name:12s} {cost.user:8.1f} {cost.system:8.1f} {ratio:7.2f} {cost.faults / 1e6:10.2f}"
        f" {cost.memory / 2**20:10.0f} {cost.wall:8.1f} {base.wall / cost.wall:7.2f}  {cost.weights[:12]}"
    )


def main(settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        variables = environments()
        prepare(settings, variables["jemalloc"])
        best: dict[str, Cost] = {}
        for turn in range(settings.turns):
            for name, environment in variables.items():
                cost = train(settings, environment, Path(folder, f"{name} {turn}"))
                best[name] = min(cost, best.get(name, cost), key=lambda cost: cost.processor)
    print("               user s system s   ratio  faults, M   most MiB   wall s   ratio  weights")
    for name, cost in best.items():
        print(line(name, cost, best["system"]))
    if len({cost.weights for cost in best.values()}) > 1:
        raise SystemExit("the weights differ")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
