"""What test-time variants gain: held-out score and AUC of finished localizers, alone and together, by variant list.

    ./run.sh fold=all data=DIR mapping=FILE preset=quick           # trains the runs
    PYTHONPATH=src .venv/bin/python benchmarks/tta_score.py runs=runs/DATASET experiments=[A,B] [folds=[0,1]]
        [lists=[scales,flip/six]] [trials=60]

`flip/six` names a list for each experiment. Each is compared with identity and flip, the default; differences are
paired, their 95 % intervals a bootstrap over people.
"""

import dataclasses
import sys
from dataclasses import dataclass, field

from pneumonia.system.switches import set_switches

set_switches()

import numpy as np  # noqa: E402

from pneumonia import config  # noqa: E402
from pneumonia.boxes.predictions import ClassProbabilities, Detections, concatenate_tables  # noqa: E402
from pneumonia.data.prepared import read_prepared  # noqa: E402
from pneumonia.data.samples import cached_images  # noqa: E402
from pneumonia.ensemble.nested import fit_nested, problem_of  # noqa: E402
from pneumonia.ensemble.recipe import recipe_of  # noqa: E402
from pneumonia.ensemble.tune import Search  # noqa: E402
from pneumonia.inference.network import network_of  # noqa: E402
from pneumonia.inference.predict import predict_tables  # noqa: E402
from pneumonia.metrics.auc import auc, auc_difference_interval  # noqa: E402
from pneumonia.metrics.intervals import Interval, difference_interval, mean_interval, people_of  # noqa: E402
from pneumonia.metrics.iou_map import Truth, image_scores  # noqa: E402
from pneumonia.runs.run import Run  # noqa: E402
from pneumonia.schema import setting  # noqa: E402
from pneumonia.system.errors import bad_input  # noqa: E402

LISTS = {
    "none": ["identity"],
    "flip": ["identity", "flip"],
    "scales": ["identity", "flip", "scale_0.9", "flip+scale_1.1"],
    "wide": ["identity", "flip", "scale_0.8", "flip+scale_1.2"],
    "six": ["identity", "flip", "scale_0.875", "flip+scale_0.875", "scale_1.125", "flip+scale_1.125"],
    "shifts": ["identity", "flip", "shift_24_24", "flip+shift_-24_-24"],
}


@dataclass
class Settings:
    runs: str = setting("", "folder of the data set's runs")
    experiments: list[str] = field(default_factory=list, metadata={"help": "names with the preset; of one ensemble"})
    folds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "of each experiment"})
    lists: list[str] = field(default_factory=lambda: [*LISTS])
    trials: int = setting(60, "trials of the recipe's search", low=1)


def predict_fold(run: Run, lists: list[str]) -> dict[str, tuple[Detections, ClassProbabilities | None]]:
    """Predict the run's held-out images with each list of variants."""
    network, family, experiment = network_of(run)
    data = read_prepared(run.start()["prepared"])
    ids = data.folds.loc[data.folds["fold"].astype(str) == str(run.fold), "patientId"]
    images = cached_images(data.cache, list(ids), experiment.image_size)
    return {
        name: predict_tables(
            network.predict_on_batch, family, images, dataclasses.replace(experiment, tta=LISTS[name]), name
        )
        for name in lists
    }


def predict(runs: list[Run], lists: list[str]) -> dict[str, tuple[Detections, ClassProbabilities | None]]:
    """Predict the held-out images of all folds with each list of variants."""
    folds = [predict_fold(run, lists) for run in runs]
    tables = {}
    for name in lists:
        boxes, classes = zip(*(fold[name] for fold in folds))
        tables[name] = concatenate_tables(boxes), None if classes[0] is None else concatenate_tables(classes)
    return tables


def main(settings: Settings) -> None:
    if not settings.experiments:
        raise bad_input("experiments", "none is given", "give experiments=[A,B], folders in runs=")
    root = config.user_path(settings.runs)
    runs = {name: [Run(root / name / f"fold{fold}") for fold in settings.folds] for name in settings.experiments}
    data = read_prepared(next(iter(runs.values()))[0].start()["prepared"])
    truth = Truth.from_lists(data.study["patientId"], data.study["boxes"])
    groups = dict(zip(data.study["patientId"], data.study["group"]))
    choices = [lists_of(text, list(runs)) for text in ["flip", *(text for text in settings.lists if text != "flip")]]
    predicted = {
        name: predict(of_folds, list(dict.fromkeys(choice[name] for choice in choices)))
        for name, of_folds in runs.items()
    }
    for names in [[name] for name in runs] + ([list(runs)] if len(runs) > 1 else []):
        default = None
        for choice in dict.fromkeys(tuple(choice[name] for name in names) for choice in choices):
            title = ", ".join(f"{name} {variant_list}" for name, variant_list in zip(names, choice))
            tables = {name: predicted[name][variant_list] for name, variant_list in zip(names, choice)}
            classes = {f"{name}:image": table for name, (_, table) in tables.items() if table is not None}
            problem = problem_of({name: table for name, (table, _) in tables.items()}, classes, truth, groups)
            start = recipe_of({"frame": [1024.0, 1024.0]}, "benchmark")
            fitted = fit_nested(problem, start, Search(settings.trials, title=title))
            ids = fitted.detections.ids
            of_images, people = truth.select(ids), people_of(ids, groups)
            positive, scores = of_images.positive, image_scores(of_images, fitted.detections)
            default = default or (scores, fitted.probabilities)
            score, gain = mean_interval(scores, people), difference_interval(scores, default[0], people)
            gain_of_auc = auc_difference_interval(positive, fitted.probabilities, default[1], people)
            of_outputs = [auc(truth.select(table.ids).positive, table.opacity) for table in classes.values()]
            print(
                f"{title}: score {score.value:.3f} ({score.low:.3f} to {score.high:.3f}), gain {signed(gain)}; "
                f"AUC {auc(positive, fitted.probabilities):.3f}, gain {signed(gain_of_auc)}; "
                f"of the outputs for the image {np.round(of_outputs, 3).tolist()}",
                flush=True,
            )


def signed(interval: Interval) -> str:
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def lists_of(text: str, names: list[str]) -> dict[str, str]:
    """{experiment: variant list} of `flip`, for all of them, or `flip/six`, one for each."""
    lists = text.split("/") if "/" in text else [text] * len(names)
    if len(lists) != len(names) or not set(lists) <= set(LISTS):
        raise bad_input("lists", f"'{text}' is not a list for each experiment", f"known: {', '.join(LISTS)}")
    return dict(zip(names, lists))


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
