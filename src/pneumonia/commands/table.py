"""The commands by name: what each calls, its settings, its line of help."""

from typing import NamedTuple

from pneumonia import schema


class Command(NamedTuple):
    """`module.function(settings) -> dict`, the dict being what json=true prints."""

    place: str
    settings: type
    summary: str
    example: str


COMMANDS = {
    "job": Command(
        "pneumonia.commands.main_job:main_job",
        schema.Job,
        "the main job: from DICOMs to a scored submission.csv",
        "fold=0",
    ),
    "check": Command(
        "pneumonia.commands.check:check", schema.Check, "every fault of a data folder at once", "data=DIR"
    ),
    "ingest": Command(
        "pneumonia.commands.ingest:ingest", schema.Ingest, "DICOMs to image cache", "data=DIR image_size=512"
    ),
    "folds": Command(
        "pneumonia.commands.folds:folds", schema.Folds, "patient-grouped stratified fold table", "data=DIR mapping=FILE"
    ),
    "eda": Command("pneumonia.commands.eda:eda", schema.Eda, "counts, figures, summary", "data=DIR"),
    "train": Command("pneumonia.commands.train:train", schema.Train, "one run", "experiment=NAME fold=0"),
    "train_run": Command(
        "pneumonia.commands.train:train_run",
        schema.TrainRun,
        "a run that a main job or `train` has begun, in this process",
        "run=runs/DATASET/EXPERIMENT/fold0",
    ),
    "evaluate": Command(
        "pneumonia.commands.evaluate:evaluate",
        schema.Evaluate,
        "everything about a finished run, or an experiment's runs over several folds",
        "run=runs/DATASET/EXPERIMENT",
    ),
    "rerun": Command(
        "pneumonia.commands.rerun:rerun", schema.Rerun, "a finished run once more, compared bit by bit", "run=PATH"
    ),
    "predict": Command(
        "pneumonia.commands.predict:predict",
        schema.Predict,
        "prediction tables for any radiographs from a run, or a submission from a whole ensemble",
        "images=DIR-or-FILE run=PATH",
    ),
    "ensemble": Command(
        "pneumonia.commands.ensemble:fit",
        schema.Ensemble,
        "fits a recipe on anybody's prediction files; nested cross-validated score",
        "members=[A.csv,B.csv] classifiers=[C.csv] labels=FILE groups=FILE out=DIR",
    ),
    "apply": Command(
        "pneumonia.commands.ensemble:apply",
        schema.Apply,
        "the fitted recipe on new predictions",
        "recipe=DIR/recipe.yaml members=[...] out=FILE.csv",
    ),
    "score": Command(
        "pneumonia.commands.score:score",
        schema.Score,
        "the competition's metric, with a 95 % interval",
        "submission=FILE labels=FILE [groups=FILE]",
    ),
    "validate": Command(
        "pneumonia.commands.validate:validate",
        schema.Validate,
        "is this file acceptable",
        "submission=FILE sample=FILE",
    ),
    "results": Command(
        "pneumonia.commands.results:results", schema.Results, "the report's table, published figures beside ours", ""
    ),
    "leaderboard": Command(
        "pneumonia.commands.leaderboard:leaderboard", schema.Leaderboard, "every submission made here", ""
    ),
    "list": Command(
        "pneumonia.commands.list_names:list_names",
        schema.List,
        "everything that has a name: experiments, models, transforms, fusions, ...",
        "what=models filter=resnet*",
    ),
}
