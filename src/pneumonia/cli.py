"""The commands: the only place that knows argv. A stage is imported only when its command is called."""

import dataclasses
import importlib
import json
import os
import sys
import traceback
import typing
from typing import NamedTuple

from pneumonia import config
from pneumonia.errors import BadInput, BadSurroundings

class Command(NamedTuple):
    """`module.function(settings) -> dict`, the dict being what json=true prints."""

    place: str
    settings: type
    summary: str
    example: str


COMMANDS = {
    "job": Command(
        "pneumonia.pipeline:main_job", config.Job, "the main job: from DICOMs to a scored submission.csv", "fold=0"
    ),
    "check": Command("pneumonia.data.check:command", config.Check, "every fault of a data folder at once", "data=DIR"),
    "ingest": Command(
        "pneumonia.data.ingest:command", config.Ingest, "DICOMs to image cache", "data=DIR image_size=512"
    ),
    "folds": Command(
        "pneumonia.data.folds:command", config.Folds, "patient-grouped stratified fold table", "data=DIR mapping=FILE"
    ),
    "eda": Command("pneumonia.reports.eda:command", config.Eda, "counts, figures, summary", "data=DIR"),
    "train": Command("pneumonia.pipeline:train", config.Train, "one run", "experiment=NAME fold=0"),
    "predict": Command(
        "pneumonia.inference.command:command",
        config.Predict,
        "prediction tables for any DICOMs from a run, or a submission from a whole ensemble",
        "images=DIR-or-FILE.dcm run=PATH",
    ),
    "ensemble": Command(
        "pneumonia.ensemble.command:fit",
        config.Ensemble,
        "fits a recipe on anybody's prediction files; nested cross-validated score",
        "members=[A.csv,B.csv] classifiers=[C.csv] labels=FILE groups=FILE out=DIR",
    ),
    "apply": Command(
        "pneumonia.ensemble.command:apply",
        config.Apply,
        "the fitted recipe on new predictions",
        "recipe=DIR/recipe.yaml members=[...] out=FILE.csv",
    ),
    "score": Command(
        "pneumonia.metrics.command:command",
        config.Score,
        "the competition's metric, with a 95 % interval",
        "submission=FILE labels=FILE [groups=FILE]",
    ),
    "validate": Command(
        "pneumonia.submission:command", config.Validate, "is this file acceptable", "submission=FILE sample=FILE"
    ),
    "results": Command(
        "pneumonia.reports.results:command", config.Results, "the report's table, published figures beside ours", ""
    ),
    "leaderboard": Command(
        "pneumonia.ensemble.leaderboard:command", config.Leaderboard, "every submission made here", ""
    ),
}
