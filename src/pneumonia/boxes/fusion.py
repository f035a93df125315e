"""Several box lists into one: of models, of folds, of test-time variants.

The results of ensemble-boxes 1.0.9, in compiled loops of our own (benchmarks/fusion.py has the ratio): tuning fuses
a whole data set hundreds of times. IoU does not change when an axis is scaled, so the boxes stay in pixels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pneumonia.boxes import fusion_kernels as kernels
from pneumonia.boxes.predictions import Detections, offsets_of
from pneumonia.system.processes import cores

METHODS = ("wbf", "nmw", "nms", "soft_nms", "soft_nms_linear")
CONFIDENCES = {
    "mean": kernels.MEAN,
    "max": kernels.MAXIMUM,
    "box_and_model": kernels.BOX_AND_MODEL,
    "absent_model_aware": kernels.ABSENT_MODEL_AWARE,
    "votes": kernels.VOTES,
    "members": kernels.MEMBERS,
}
BOXES_PER_RUN = 200_000  # boxes fused at once by one thread: bounds the memory, 25 members or not
SAME_BOX_IOU = 0.5  # variants and folds of one model; the winners used 0.4 to 0.55


def fuse(
    tables: Sequence[Detections],
    method: str = "wbf",
    weights: Sequence[float] | None = None,
    iou: float = 0.55,
    lowest: float = 0.0,
    confidence: str = "mean",
    votes: int = 1,
    sigma: float = 0.5,
    floor: float = 0.001,
    most: int = 0,
    threads: int = 0,
) -> Detections:
    """Fuse the boxes of several detection tables that cover the same images in the same order.

    Args:
        method: wbf, nmw, nms, soft_nms (Gaussian) or soft_nms_linear.
        weights: (tables,) >= 0, at least one above; 1 by default. A table of weight 0 takes no part at all.
        iou: boxes of higher IoU are the same object.
        lowest: boxes of lower confidence take no part.
        confidence: of a wbf cluster: mean (a member that did not find it counts as 0), max, box_and_model,
            absent_model_aware (both as in ensemble-boxes), votes (how many members found it; their mean within equal
            votes), or members (the mean over the members of each one's best box, 0 where it has none: unlike with
            mean, a member's faint second box at the same place takes nothing away).
        votes: wbf clusters that fewer members found are dropped.
        sigma, floor: of soft-NMS.
        most: boxes kept per image, the most confident; 0 for all.
        threads: 0: one per core. The result does not depend on it.

    Returns:
        Detections with each image's boxes in descending confidence.

    Raises:
        ValueError: tables of different images, an unknown method or confidence, weights that do not fit.
    """
    tables, weights = checked(tables, method, weights, confidence)
    images, firsts = len(tables[0]), runs_of(tables)
    bounds = list(zip(firsts, [*firsts[1:], images]))

    def fused(bound: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        starts, corners, scores, member = gathered(tables, *bound)
        out_corners, out_scores = np.empty_like(corners), np.empty_like(scores)
        given = (starts, corners, scores, member, weights, iou, lowest)
        if method == "wbf":
            counts = kernels.weighted_boxes(*given, CONFIDENCES[confidence], votes, out_corners, out_scores)
        elif method == "nmw":
            counts = kernels.non_maximum_weighted(*given, out_corners, out_scores)
        elif method == "nms":
            counts = kernels.suppression(*given, out_corners, out_scores)
        else:
            linear = method == "soft_nms_linear"
            counts = kernels.soft_suppression(*given, linear, sigma, floor, out_corners, out_scores)
        counts = np.minimum(counts, most) if most else counts
        boxes, kept = np.empty((counts.sum(), 4)), np.empty(counts.sum())
        kernels.compact(starts, counts, out_corners, out_scores, boxes, kept)
        return counts, boxes, kept

    threads = threads or cores()
    if threads == 1 or len(bounds) == 1:
        parts = [fused(bound) for bound in bounds]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(fused, bounds))
    counts, boxes, scores = (np.concatenate(each) for each in zip(*parts))
    return Detections(tables[0].ids, offsets_of(counts), boxes, scores)


def checked(
    tables: Sequence[Detections], method: str, weights: Sequence[float] | None, confidence: str
) -> tuple[list[Detections], np.ndarray]:
    """The tables that take part, and their weights."""
    if method not in METHODS:
        raise ValueError(f"no fusion method '{method}'; known: {', '.join(METHODS)}")
    if confidence not in CONFIDENCES:
        raise ValueError(f"no fusion confidence '{confidence}'; known: {', '.join(CONFIDENCES)}")
    given = np.ones(len(tables)) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.shape != (len(tables),) or not (given >= 0).all() or not given.sum() > 0:
        raise ValueError("weights: one number >= 0 per table, and not all 0")
    if any(table.ids != tables[0].ids for table in tables[1:]):
        raise ValueError("the tables must cover the same images in the same order")
    return [table for table, weight in zip(tables, given) if weight > 0], given[given > 0]


def runs_of(tables: Sequence[Detections]) -> list[int]:
    """First images of runs of about BOXES_PER_RUN boxes; always at least one run."""
    boxes_before = np.sum([table.offsets for table in tables], axis=0)
    runs = max(1, -(-int(boxes_before[-1]) // BOXES_PER_RUN))
    goals = np.arange(runs) * (boxes_before[-1] / runs)
    return np.unique(np.searchsorted(boxes_before[:-1], goals)).tolist() if len(tables[0]) else [0]


def gathered(tables: Sequence[Detections], first: int, last: int):
    """All members' boxes of images first .. last - 1: starts (images + 1,), corners, scores, member."""
    counts = np.sum([np.diff(table.offsets[first : last + 1]) for table in tables], axis=0).astype(np.int64)
    starts = offsets_of(counts)
    corners, scores = np.empty((starts[-1], 4)), np.empty(starts[-1])
    member, filled = np.empty(starts[-1], dtype=np.int64), np.zeros(last - first, dtype=np.int64)
    for number, table in enumerate(tables):
        kernels.gather(table.offsets, table.boxes, table.scores, first, starts, filled, number, corners, scores, member)
    return starts, corners, scores, member


# ------------------------------------------------------------------ one model's variants


def merge_tta(tables: Sequence[Detections], iou: float = SAME_BOX_IOU) -> Detections:
    """The variants of one model's prediction: weighted boxes, a variant that missed the box counting as 0.

    Held-out and test images are predicted under the same variants, so that the confidences mean the same for both.
    """
    return fuse(tables, iou=iou)
