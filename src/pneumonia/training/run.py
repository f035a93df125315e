"""One run: an experiment on one fold of one dataset. Its path is its identity; what it depended on lies beside it."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumonia import config, schema
from pneumonia.errors import BadInput, BadSurroundings, bad_input
from pneumonia.files import read_json, sha256, write_json, written_whole
from pneumonia.processes import cores
from pneumonia.progress import say

PACKAGES = ("tensorflow", "keras", "keras-cv", "segmentation-models", "jax", "numpy", "albumentations",
            "opencv-python-headless", "pydicom", "safetensors",
            "nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12", "nvidia-cublas-cu12")  # fmt: skip
# of environment.json: with another one of these a run's numbers have other bits
OF_BITS = ("threads", "devices", "gpu", "processor", "precision", "packages", "learned_from")
ASKED_FOR = 10.0  # seconds that another program may take to answer


@dataclass(frozen=True)
class Run:
    """runs/<dataset>/<experiment>/fold<k>/ and the files in it."""

    folder: Path

    @property
    def fold(self) -> int | str:
        """A number, or `report` for the student report's split."""
        text = self.folder.name.removeprefix("fold")
        return int(text) if text.isdigit() else text.removeprefix("-")

    @property
    def dataset(self) -> Path:
        """Folder of all runs on the same data and folds; the report's experiments lie one folder deeper."""
        experiments = self.folder.parent.parent
        return experiments.parent if experiments.name == "report" else experiments

    @property
    def settings_file(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    def table(self, images: str, kind: str) -> Path:
        """Prediction table of `images` (oof, test, holdout) by a model of `kind` (classifier, localizer)."""
        return self.folder / f"{images}_{'classes' if kind == 'classifier' else 'detections'}.csv"

    @property
    def is_done(self) -> bool:
        """Whether its marker is there, and every table that the marker names."""
        if not (self.folder / "done.json").exists():
            return False
        return all((self.folder / table["file"]).exists() for table in self.done().get("tables", {}).values())

    def done(self) -> dict:
        return read_json(self.folder / "done.json")

    def begin(self, experiment: schema.Experiment, identity: dict, words: Sequence[str] = ()) -> None:
        """Write config.yaml and environment.json; a run that was begun before must have been begun the same.

        environment.json stays what the run was first begun with, but for `command`, whose paths are those of today, and
        `starts`: of each start the time, and what of the environment was another than at the first.

        Args:
            identity: what the run depends on besides its settings: dataset, hashes of data and fold table, fold.
            words: the command line after `./run.sh train`, with which `rerun` repeats it.

        Raises:
            BadInput: the folder holds a run with other settings, data or folds, or one that another backend began; the
                difference is shown.
        """
        import yaml

        self.refuse_other(experiment, identity)
        if not self.settings_file.exists():
            with written_whole(self.settings_file) as stream:
                yaml.safe_dump(config.as_tree(experiment) | {"identity": identity}, stream, sort_keys=False)
        if self.is_done:
            return  # what it was made with stays what it was
        file = self.folder / "environment.json"
        now = environment(experiment) | {"learned_from": learned_from(self, experiment)} | identity
        first = read_json(file) if file.exists() else now
        changed = differences(first, now)
        if "backend" in changed:
            mend = f"set KERAS_BACKEND={first['backend']} to go on with it, or remove {self.folder} to train it anew"
            raise bad_input(file, f"was begun with another backend: {told(changed, ('backend',))}", mend)
        if of_bits := told(changed, OF_BITS):
            say(f"{self.folder}: goes on in other surroundings, so that its bits will differ: {of_bits}")
        start = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "changed": {key: value for key, (_, value) in changed.items()},
        }
        write_json(file, first | {"command": list(words), "starts": [*first.get("starts", []), start]})

    def refuse_other(self, experiment: schema.Experiment, identity: dict) -> None:
        """Raises BadInput where the folder holds a run with other settings, data or folds, and shows the difference."""
        if not self.settings_file.exists():
            return
        # a setting that an older version of the program did not know had its default's effect
        before = config.merge(config.as_tree(schema.Experiment()), config.read_yaml(self.settings_file))
        known = before.get("identity") or {}  # of which an older version wrote less
        identity = {key: value for key, value in identity.items() if key in known}
        changed = config.difference(before, config.as_tree(experiment) | {"identity": identity})
        changed.pop("loaders", None)  # who makes the batches does not change them
        if changed:
            shown = ", ".join(
                f"{key} was {config.value_at(before, key)} and is now {value}" for key, value in changed.items()
            )
            mend = f"remove {self.folder} to train it anew, or choose another out="
            raise bad_input(self.settings_file, f"was begun with other settings: {shown}", mend)

    def finish(self, kind: str, seconds: float, tables: dict[str, Path], decoder: dict) -> None:
        """The marker, written last: with it the run is complete.

        decoder: settings of `model` that were fitted after training, and predicted with.
        """
        write_json(
            self.folder / "done.json",
            {
                "kind": kind,
                "seconds": round(seconds, 1),
                "decoder": decoder,
                "weights_sha256": sha256(self.weights),
                "tables": {name: {"file": path.name, "sha256": sha256(path)} for name, path in tables.items()},
            },
        )


def differences(then: dict, now: dict) -> dict[str, tuple]:
    """{dotted key: (then, now)} of what two environments say both, and differently; an older one says less."""
    known = then.keys() & now.keys()
    then, now = ({key: each[key] for key in known} for each in (then, now))
    return {key: (config.value_at(then, key), value) for key, value in config.difference(then, now).items()}


def told(changed: dict[str, tuple], keys: Sequence[str]) -> str:
    """Those of `differences` that are under one of the keys, for people."""
    ours = {key: each for key, each in changed.items() if key.split(".")[0] in keys}
    return ", ".join(f"{key} was {then} and is now {now}" for key, (then, now) in ours.items())


def environment(experiment: schema.Experiment) -> dict:
    """What else could change a result: versions, commit, device, threads, number format; None: not to be known."""
    import keras

    from pneumonia.training.precision import on_gpu, precision_of

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
        "cores": cores(),
        "threads": threads(keras.backend.backend()),
        "precision": precision_of(experiment),
        "seed": experiment.seed,
        "processor": processor(),
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if edited is None else edited != "",
        "packages": versions,
    }


def learned_from(run: Run, experiment: schema.Experiment) -> dict:
    """SHA-256 of what a run learns from besides the images: the file of its first weights, other models' tables.

    Returns:
        weights: of the file that `model.weights` names; imagenet's is Keras's own, by its version.
        hard_from: {fold: of its out-of-fold table}. A file that cannot be found has None: training will say so.
    """
    from pneumonia.models.pretrained import file_of
    from pneumonia.training.material import sibling, start_of

    model, sampling = experiment.model, experiment.sampling
    found: dict = {}
    if model.weights not in ("none", "imagenet"):
        found["weights"] = None
        with contextlib.suppress(BadInput, BadSurroundings, OSError):
            found["weights"] = sha256(file_of(start_of(model, run)))
    if sampling.hard_negatives > 0:
        found["hard_from"] = None
        with contextlib.suppress(BadInput, OSError):
            others = [Run(each) for each in sibling(run, sampling.hard_from, "sampling.hard_from").glob("fold*")]
            others = [other for other in others if other.is_done and other.folder.name != run.folder.name]
            tables = {other.folder.name: other.table("oof", other.done()["kind"]) for other in others}
            found["hard_from"] = {fold: sha256(table) for fold, table in sorted(tables.items())}
    return found


def git(*words: str) -> str | None:
    """What git says of the program's own repository; it takes no lock that a commit could wait for."""
    return answer("git", "--no-optional-locks", "-C", str(config.REPOSITORY), *words)


def gpu() -> str | None:
    """Model and driver version of the machine's GPUs: "NVIDIA H100 80GB HBM3, 550.54.15"; None without nvidia-smi."""
    lines = answer("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return "; ".join(sorted(set(lines.splitlines()))) if lines else None


def answer(*command: str) -> str | None:
    """What a program prints; None where it is not there, fails, or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASKED_FOR, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def threads(backend: str) -> int:
    """Threads of one operation: what the backend's variable says, else one per core that the process may use."""
    return int(os.environ.get("NPROC" if backend == "jax" else "TF_NUM_INTRAOP_THREADS") or cores())


def processor() -> str:
    """The processor's name as a person knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
