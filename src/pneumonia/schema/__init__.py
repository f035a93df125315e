"""Every setting of every command, with its type, default, help and allowed values.

Imports only the standard library: `--help` works before anything is installed.
"""

from pneumonia.schema.commands import (
    PRESETS,
    Apply,
    Bundle,
    Check,
    Command,
    Data,
    Eda,
    Ensemble,
    Evaluate,
    Export,
    Fetch,
    Folds,
    Ingest,
    Job,
    Leaderboard,
    List,
    Predict,
    Rerun,
    Results,
    Runs,
    Score,
    Submit,
    Train,
    Training,
    TrainRun,
    Validate,
    View,
    Weights,
)
from pneumonia.schema.experiment import Experiment, Loss, Optimizer, Sampling, Schedule
from pneumonia.schema.models import Model, model_names
from pneumonia.schema.reading import from_tree
from pneumonia.schema.setting import setting

__all__ = [
    "PRESETS", "Apply", "Bundle", "Check", "Command", "Data", "Eda", "Ensemble", "Evaluate", "Experiment", "Export",
    "Fetch", "Folds", "Ingest", "Job", "Leaderboard", "List", "Loss", "Model", "Optimizer", "Predict", "Rerun",
    "Results", "Runs", "Sampling", "Schedule", "Score", "Submit", "Train", "TrainRun", "Training", "Validate", "View",
    "Weights", "from_tree", "model_names", "model_settings", "setting",
]  # fmt: skip


def model_settings(name: str, **settings) -> Model:
    """Build and check the settings of one network: model_settings("mobilenetv2", alpha=0.5). Raises BadInput."""
    return from_tree(Experiment, {"model": {"name": name, **settings}}, "model").model
