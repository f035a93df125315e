"""One run: an experiment on one fold of one dataset. Its path is its identity; its folder says what it depends on."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumonia import config, schema
from pneumonia.runs.environment import BIT_KEYS, difference_text, differences, environment
from pneumonia.schema.experiment import WITHOUT_EFFECT
from pneumonia.system.errors import bad_input
from pneumonia.system.files import atomic_write, read_json, sha256, write_json
from pneumonia.system.progress import say


@dataclass(frozen=True)
class Run:
    """runs/<dataset>/<experiment>/fold<k>/ and the files in it."""

    folder: Path

    @property
    def fold(self) -> int | str:
        """The fold's number, `report` for the student report's split, `published` for another one."""
        text = self.folder.name.removeprefix("fold")
        return int(text) if text.isdigit() else text.removeprefix("-")

    @property
    def dataset(self) -> Path:
        """Folder of all runs on the same data and folds; the report's experiments are one folder deeper."""
        experiments = self.folder.parent.parent
        return experiments.parent if experiments.name == "report" else experiments

    @property
    def settings_file(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    def table(self, images: str, kind: str) -> Path:
        """Return the path of the prediction table of `images` (oof, test, holdout) by a model of `kind` (classifier,
        localizer)."""
        return self.folder / f"{images}_{'classes' if kind == 'classifier' else 'detections'}.csv"

    @property
    def is_marked(self) -> bool:
        """Whether the marker done.json exists: the weights are final, but a table may have been removed since."""
        return (self.folder / "done.json").exists()

    @property
    def is_done(self) -> bool:
        """Whether the marker done.json and every table that it names exist."""
        if not self.is_marked:
            return False
        return all((self.folder / table["file"]).exists() for table in self.done().get("tables", {}).values())

    def done(self) -> dict:
        """Return the content of done.json."""
        return read_json(self.folder / "done.json")

    def write_settings(self, experiment: schema.Experiment, identity: dict) -> None:
        """Write config.yaml; if it exists, it must have the same settings and identity.

        Args:
            identity: what the run depends on besides its settings: dataset, hashes of data and fold table, fold.

        Raises:
            BadInput: the folder holds a run with other settings, data or folds; the message shows the difference.
        """
        import yaml

        self.check_same(experiment, identity)
        if self.settings_file.exists() and self.is_marked:
            return  # a finished run keeps its file: some settings may differ
        with atomic_write(self.settings_file) as stream:
            yaml.safe_dump(config.as_tree(experiment) | {"identity": identity}, stream, sort_keys=False)

    def write_start(self, start: dict) -> None:
        """Write run.json: title, source (the data folder, or demo), nih, prepared (data/prepared.py), split (of a
        published split: data/published_split.py)."""
        write_json(self.folder / "run.json", start)

    def start(self) -> dict:
        """Return the content of run.json. Raises BadInput for a folder without a prepared run."""
        file = self.folder / "run.json"
        if not file.is_file() or not self.settings_file.is_file():
            fix = "give run= the folder of a run that the main job or `train` has begun"
            raise bad_input(self.folder, "is not the folder of a run", fix)
        return read_json(file)

    def begin(self, experiment: schema.Experiment, identity: dict, learned_from: dict | None = None) -> None:
        """Write config.yaml and environment.json; a run that was begun before must have the same settings.

        environment.json keeps the environment of the first start; `starts` gets one entry per start, with its time and
        what was different from the first start.

        Args:
            identity: see `write_settings`.
            learned_from: checksums of what it learns from besides the images (training/other_runs.py).

        Raises:
            BadInput: the folder holds a run with other settings, data or folds, or of another backend; the message
                shows the difference.
        """
        self.write_settings(experiment, identity)
        if self.is_done:
            return
        file = self.folder / "environment.json"
        now = environment(experiment) | {"learned_from": learned_from or {}} | identity
        first = read_json(file) if file.exists() else now
        changed = differences(first, now)
        if "backend" in changed:
            fix = f"set KERAS_BACKEND={first['backend']} to continue it, or remove {self.folder} to train it again"
            raise bad_input(file, f"was begun with another backend: {difference_text(changed, ('backend',))}", fix)
        if bit_changes := difference_text(changed, BIT_KEYS):
            say(f"{self.folder}: continues in another environment, results will not be bit-identical: {bit_changes}")
        start = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "changed": {key: value for key, (_, value) in changed.items()},
        }
        write_json(file, first | {"starts": [*first.get("starts", []), start]})

    def check_same(self, experiment: schema.Experiment, identity: dict) -> None:
        """Raises BadInput, with the difference, if the folder holds a run with other settings, data or folds."""
        if not self.settings_file.exists():
            return
        defaults = config.as_tree(schema.Experiment(model=type(experiment.model)()))
        # a setting that the program has only had since has its default there
        before = config.merge(defaults, config.read_yaml(self.settings_file))
        changed = config.difference(before, config.as_tree(experiment) | {"identity": identity})
        changed = {key: value for key, value in changed.items() if key not in WITHOUT_EFFECT}
        if changed:
            text = ", ".join(
                f"{key} was {config.value_at(before, key)} and is now {value}" for key, value in changed.items()
            )
            fix = f"remove {self.folder} to train it again, or choose another out="
            raise bad_input(self.settings_file, f"was begun with other settings: {text}", fix)

    def finish(self, kind: str, seconds: float, tables: dict[str, Path], decoder: dict) -> None:
        """Write the marker done.json, the last file of a complete run.

        decoder: settings of `model` that were fitted after training and used for prediction.
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


def by_fold(networks: Iterable) -> dict[int | str, list]:
    """Return {fold: a member's networks for it, one per seed}, in their order.

    Args:
        networks: runs, or anything else with a `fold`.
    """
    folds: dict[int | str, list] = {}
    for network in networks:
        folds.setdefault(network.fold, []).append(network)
    return folds


def with_names(runs: Mapping[str, Sequence[Run]]) -> list[tuple[str, Run]]:
    """Return every run with a name that no other run of its fold has: its member's, and its seed where that has
    several."""
    return [
        (f"{name} seed {experiment_of(run).seed}" if len(seeds) > 1 else name, run)
        for name, member_runs in runs.items()
        for seeds in by_fold(member_runs).values()
        for run in seeds
    ]


def experiment_of(run: Run) -> schema.Experiment:
    """Return the settings that a run was begun with."""
    tree = config.read_yaml(run.settings_file)
    tree.pop("identity")
    return config.from_tree(schema.Experiment, tree, str(run.settings_file))
