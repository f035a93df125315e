r"""Processor seconds of whole commands, as a person types them, here and in another checkout of this program.

    PYTHONPATH=src .venv/bin/python benchmarks/command_start.py submission=FILE labels=FILE groups=FILE \
        run=RUN image=FILE [other=DIR] [turns=5]

Both checkouts take turns; the medians and their ratio are printed. `run` is a finished run whose settings both know.
The last line, a plain `import tensorflow`, is what no change of ours can save.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pneumonia import config
from pneumonia.schema import setting

HERE = Path(__file__).resolve().parents[1]


@dataclass
class Settings:
    submission: str = setting("", "predictions to score")
    labels: str = setting("", "label table")
    groups: str = setting("", "images and their people")
    run: str = setting("", "a finished run")
    image: str = setting("", "a DICOM")
    other: str = setting("", "another checkout")
    turns: int = setting(5, "turns that are timed", low=1)


def processor_seconds(checkout: Path, words: list[str]) -> float:
    """Return those of Python with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(HERE / ".venv" / "bin" / "python"), "-P", *words]
    env = os.environ | {"PYTHONPATH": str(checkout / "src")}
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(settings: Settings) -> None:
    checkouts = [HERE, *([Path(settings.other).resolve()] if settings.other else [])]
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "--help": ["--help"],
            "validate": ["validate", f"submission={settings.submission}"],
            "score": ["score", f"submission={settings.submission}", f"labels={settings.labels}",
                      f"groups={settings.groups}"],
            "leaderboard": ["leaderboard"],
            "predict": ["predict", f"images={settings.image}", f"run={settings.run}", f"out={folder}/predicted.csv"],
        }  # fmt: skip
        for name, words in commands.items():
            seconds: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
            for _ in range(settings.turns):
                for checkout in checkouts:
                    seconds[checkout].append(processor_seconds(checkout, ["-m", "pneumonia", *words]))
            here, *there = (statistics.median(seconds[checkout]) for checkout in checkouts)
            compared = f", other {there[0]:.2f} s, {there[0] / here:.2f} times as much" if there else ""
            print(f"{name}: {here:.2f} s{compared}", flush=True)
    alone = [processor_seconds(HERE, ["-c", "import tensorflow"]) for _ in range(settings.turns)]
    print(f"import tensorflow: {statistics.median(alone):.2f} s")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
