"""Prediction tables of an ensemble's runs, under the names that its recipe has for them."""

from collections.abc import Mapping, Sequence

from pneumonia.boxes.predictions import (
    ClassProbabilities,
    Detections,
    concatenate_tables,
    read_classes,
    read_detections,
)
from pneumonia.boxes.same_model import merge_tables
from pneumonia.runs.run import Run, by_fold

READERS = {"localizer": read_detections, "classifier": read_classes}
Table = Detections | ClassProbabilities


def image_output(member: str) -> str:
    """Return the name of a localizer's second table: class probabilities of the whole image, beside its boxes."""
    return f"{member}:image"


def tables_of(runs: Mapping[str, Sequence[Run]], images: str) -> dict[str, list[Table]]:
    """Read the tables of `images` (oof, test, holdout) of every run.

    Args:
        runs: {member: its runs, one per fold and seed}.

    Returns:
        {member: one table per fold}: first the members in their order, then `MEMBER:image` for each localizer with an
        output for the whole image.
    """
    first = {name: member_runs[0].done() for name, member_runs in runs.items()}
    tables = {name: read_folds(runs[name], images, done["kind"]) for name, done in first.items()}
    for name, done in first.items():
        if f"{images}_classes" in done["tables"]:
            tables[image_output(name)] = read_folds(runs[name], images, "classifier")
    return tables


def read_folds(runs: Sequence[Run], images: str, kind: str) -> list[Table]:
    """Read one table per fold; those of several seeds are merged."""
    read = READERS[kind]
    return [merge_tables([read(run.table(images, kind)) for run in seeds]) for seeds in by_fold(runs).values()]


def held_out_tables(runs: Mapping[str, Sequence[Run]]) -> dict[str, Table]:
    """Return `tables_of` the held-out images, the folds of each member joined."""
    return {name: concatenate_tables(tables) for name, tables in tables_of(runs, "oof").items()}


def of_type(tables: Mapping[str, Table], kind: type) -> dict:
    """Return the tables that are Detections, or those that are ClassProbabilities."""
    return {name: table for name, table in tables.items() if isinstance(table, kind)}
