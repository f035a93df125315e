"""Check that an experiment's settings make sense together, before any DICOM is read.

Each setting on its own has been checked when it was read (schema/).
"""

from pneumonia import schema
from pneumonia.schema.relations import check_relations
from pneumonia.system.errors import run_checks


def check_experiment(experiment: schema.Experiment, split: str = "") -> None:
    """Check an experiment for settings that contradict each other or have no effect, and for unknown transforms and
    test-time variants.

    Args:
        split: the setting; the inner split is `report`'s val part, and of folds and published splits a share of the
            training people.

    Raises:
        BadInput: all faults, each with the setting's name on the command line.
    """
    from pneumonia.data.augment import Augmentation
    from pneumonia.inference.tta import variants

    run_checks(
        lambda: check_relations(experiment, split == "report" or experiment.inner_val_fraction > 0),
        lambda: variants(experiment.tta),
        lambda: Augmentation(experiment.augment),
    )
