"""Thin for now: what would stop the main job."""

from pneumonia.data.competition import Competition, resolve
from pneumonia.errors import BadInput, Fault


def refuse_faults(competition: Competition, clip_boxes: bool = False) -> None:
    if not competition.train_images:
        raise BadInput([Fault("no-images", str(competition.root), None, "has no DICOMs", "give the competition's folder")])


def command(settings) -> dict:
    refuse_faults(resolve(settings), settings.clip_boxes)
    return {"faults": [], "warnings": []}
