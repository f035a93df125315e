"""How well single readers agree with the consensus and with each other, from RSNA's original annotations."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from pneumonia.boxes import geometry
from pneumonia.data.labels import CLASSES
from pneumonia.data.mdai import box_of, read_export
from pneumonia.data.release_labels import read_names
from pneumonia.reports import page
from pneumonia.reports.numbers import json_number, number_text

COLUMNS = ["patientId", "reader", "opacity", "reader_boxes"]


def read_readings(annotations: Path, mapping: Path | None) -> pd.DataFrame:
    """Read what each reader said about each image.

    Args:
        mapping: RSNA's JSON; None: images are named by their SOPInstanceUID.

    Returns:
        patientId; reader: the reader's id, or the label group where the export names none; opacity: bool;
        reader_boxes: (n, 4) x, y, width, height in pixels.

    Raises:
        BadInput: a file cannot be read.
    """
    export = read_export(annotations)
    ids, image_of_study = read_names(mapping) if mapping else ({}, {})
    readings: dict[tuple[str, str], list] = {}
    for each in export.annotations:
        group, label = export.labels.get(each.label, ("", ""))
        sop, opacity = each.sop or image_of_study.get(each.study, ""), is_opacity(label)
        if not sop or opacity is None:
            continue
        reading = readings.setdefault((ids.get(sop, sop), each.reader or group), [False, []])
        reading[0] |= opacity
        if opacity and (box := box_of(each.data)):
            reading[1].append(box)
    rows = [
        (image, reader, opacity, np.array(boxes, dtype=np.float64).reshape(-1, 4))
        for (image, reader), (opacity, boxes) in readings.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def is_opacity(label: str) -> bool | None:
    """Whether a reader's label means an opacity, at any probability; None for administrative labels."""
    label = label.lower()
    if label.startswith("lung opacity"):
        return True
    return False if label.startswith(("no lung opacity", "normal")) else None


def agreement_of(study: pd.DataFrame, readings: pd.DataFrame) -> dict:
    """Compare the readings of the study table's images with its labels, the consensus.

    Returns:
        images, readings, readers: counts. agreement: share of readings whose opacity is as in the consensus. kappa:
        Cohen's (1960, https://doi.org/10.1177/001316446002000104). called_opacity: {class: share of its readings}.
        pairs, pair_agreement: of two readers of one image. box_iou: median over the boxes of the consensus, of readers
        who drew boxes too, of the IoU with the reader's best box. Shares are None where there is nothing to measure.
    """
    table = readings.merge(study[["patientId", "target", "class", "boxes"]], on="patientId")
    is_same = (table["target"] == 1) == table["opacity"]
    per_image = table.groupby("patientId")["opacity"].agg(["sum", "size"])
    positive, all_of_image = per_image["sum"], per_image["size"]
    pairs = (all_of_image * (all_of_image - 1) // 2).sum()
    different = (positive * (all_of_image - positive)).sum()
    drawn = table[(table["target"] == 1) & (table["reader_boxes"].map(len) > 0)]
    ious = [geometry.iou_matrix(boxes, own).max(axis=1) for boxes, own in zip(drawn["boxes"], drawn["reader_boxes"])]
    varies = table["target"].nunique() > 1 or table["opacity"].nunique() > 1
    kappa = cohen_kappa_score(table["target"] == 1, table["opacity"]) if varies else math.nan
    return {
        "images": len(per_image),
        "readings": len(table),
        "readers": table["reader"].nunique(),
        "agreement": json_number(is_same.mean()),
        "kappa": json_number(kappa),
        "called_opacity": {
            CLASSES.display[name]: json_number(table.loc[table["class"] == name, "opacity"].mean())
            for name in CLASSES.names
        },
        "pairs": int(pairs),
        "pair_agreement": json_number(1 - different / pairs) if pairs else None,
        "box_iou": json_number(np.median(np.concatenate(ious))) if ious else None,
    }


def readers_sections(agreement: dict) -> list[str]:
    """The page's section on readers."""
    text = (
        f"{agreement['readings']:,} readings of {agreement['images']:,} images by {agreement['readers']} readers, "
        "from RSNA's original annotations. A model cannot agree with the consensus much better than a radiologist does."
    )
    rows = [
        ("same answer as the consensus", number_text(agreement["agreement"])),
        ("Cohen's kappa with the consensus", number_text(agreement["kappa"])),
        *(
            (f"called an opacity, where the consensus is {name}", number_text(share))
            for name, share in agreement["called_opacity"].items()
        ),
        (f"two readers of one image agree ({agreement['pairs']:,} pairs)", number_text(agreement["pair_agreement"])),
        ("IoU of a consensus box with the reader's best box, median", number_text(agreement["box_iou"])),
    ]
    return [page.paragraph(text), page.table(("", "share"), rows)]
