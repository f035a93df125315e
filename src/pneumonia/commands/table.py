"""The commands by name: the function that each calls, its settings, its line of help."""

from typing import NamedTuple

from pneumonia import schema


class Command(NamedTuple):
    """function: "module:name" of `name(settings) -> dict`; json=true prints the dict."""

    function: str
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
    "check": Command("pneumonia.commands.check:check", schema.Check, "all faults of a data folder at once", "data=DIR"),
    "fetch": Command(
        "pneumonia.commands.fetch:fetch",
        schema.Fetch,
        "downloads the competition from Kaggle, and checks it",
        "out=DIR",
    ),
    "ingest": Command(
        "pneumonia.commands.ingest:ingest",
        schema.Ingest,
        "makes the image cache from DICOMs",
        "data=DIR image_size=512",
    ),
    "folds": Command(
        "pneumonia.commands.folds:folds",
        schema.Folds,
        "makes a stratified fold table, grouped by person",
        "data=DIR mapping=FILE",
    ),
    "eda": Command(
        "pneumonia.commands.eda:eda", schema.Eda, "counts and figures of a data folder, on one page", "data=DIR"
    ),
    "weights": Command(
        "pneumonia.commands.weights:weights",
        schema.Weights,
        "fetches the pretrained weights that an ensemble starts from",
        "ensemble=NAME",
    ),
    "train": Command(
        "pneumonia.commands.train:train",
        schema.Train,
        "trains an experiment on one fold, or on all",
        "experiment=NAME fold=0",
    ),
    "train_run": Command(
        "pneumonia.commands.train:train_run",
        schema.TrainRun,
        "trains a run that the main job or `train` has prepared, in this process",
        "run=runs/DATASET/EXPERIMENT/fold0",
    ),
    "runs": Command(
        "pneumonia.commands.runs:runs",
        schema.Runs,
        "every run, its state and its held-out score",
        "",
    ),
    "evaluate": Command(
        "pneumonia.commands.evaluate:evaluate",
        schema.Evaluate,
        "metrics and figures of a finished run, or of an experiment's runs over several folds",
        "run=runs/DATASET/EXPERIMENT",
    ),
    "rerun": Command(
        "pneumonia.commands.rerun:rerun",
        schema.Rerun,
        "trains a finished run again and compares it bit by bit",
        "run=PATH",
    ),
    "predict": Command(
        "pneumonia.commands.predict:predict",
        schema.Predict,
        "a prediction table of any radiographs from a run, or a submission from a whole ensemble",
        "images=DIR-or-FILE run=PATH",
    ),
    "ensemble": Command(
        "pneumonia.commands.ensemble:fit",
        schema.Ensemble,
        "fits a recipe on prediction files from any source; nested cross-validated score",
        "members=[A.csv,B.csv] classifiers=[C.csv] labels=FILE groups=FILE out=DIR",
    ),
    "apply": Command(
        "pneumonia.commands.ensemble:apply",
        schema.Apply,
        "applies a fitted recipe to new predictions",
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
        "checks the format of a submission",
        "submission=FILE sample=FILE",
    ),
    "view": Command(
        "pneumonia.commands.view:view",
        schema.View,
        "a page to look at a submission's boxes, with a threshold to move; opens offline",
        "submission=NAME",
    ),
    "export": Command(
        "pneumonia.commands.export:export",
        schema.Export,
        "boxes for other tools: COCO, YOLO, Pascal VOC, CSV of corners",
        "submission=NAME labels=FILE format=coco out=DIR",
    ),
    "submit": Command(
        "pneumonia.commands.submit:submit",
        schema.Submit,
        "sends a submission to Kaggle, waits for its score and adds it to the leaderboard",
        "submission=NAME message=TEXT",
    ),
    "bundle": Command(
        "pneumonia.commands.bundle:bundle",
        schema.Bundle,
        "all that a machine without internet needs to predict with an ensemble, with a notebook",
        "submission=NAME out=DIR",
    ),
    "results": Command(
        "pneumonia.commands.results:results",
        schema.Results,
        "the student report's table, published figures next to ours",
        "",
    ),
    "leaderboard": Command(
        "pneumonia.commands.leaderboard:leaderboard",
        schema.Leaderboard,
        "all submissions made here, with their scores",
        "",
    ),
    "list": Command(
        "pneumonia.commands.list_names:list_names",
        schema.List,
        "names that settings take: experiments, models, transforms, fusions, ...",
        "what=models filter=resnet*",
    ),
}
