"""Whether an experiment's settings make sense together, before any DICOM is read for it.

Each setting on its own was checked when it was read (schema/).
"""

from pneumonia import schema
from pneumonia.schema.relations import check_relations
from pneumonia.system.errors import BadInput


def check_experiment(experiment: schema.Experiment, split: str = "") -> None:
    """Nothing that contradicts itself or would do nothing, and known transforms and test-time variants.

    Args:
        split: `report` where the student report's split is used: its own part is looked at in place of an inner split.

    Raises:
        BadInput: everything that makes no sense, by the name that it has on the command line.
    """
    from pneumonia.data.augment import Augmentation
    from pneumonia.inference.tta import variants

    faults = []
    for check in (
        lambda: check_relations(experiment, bool(split) or experiment.inner_val_fraction > 0),
        lambda: variants(experiment.tta),
        lambda: Augmentation(experiment.augment),
    ):
        try:
            check()
        except BadInput as error:
            faults += error.faults
    if faults:
        raise BadInput(faults)
