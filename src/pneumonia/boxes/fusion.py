"""Fuse several box lists into one: of models, of folds, of test-time variants.

The results are those of ensemble-boxes 1.0.9, computed by compiled loops (benchmarks/fusion.py compares the speed),
because tuning fuses a whole data set hundreds of times. Scaling an axis does not change IoU, so boxes stay in pixels.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pneumonia.boxes import fusion_kernels as kernels
from pneumonia.boxes.predictions import Detections, offsets_of
from pneumonia.schema.setting import setting
from pneumonia.system.processes import count_cores

CONFIDENCES = {
    "mean": kernels.MEAN,
    "max": kernels.MAXIMUM,
    "box_and_model": kernels.BOX_AND_MODEL,
    "absent_model_aware": kernels.ABSENT_MODEL_AWARE,
    "votes": kernels.VOTES,
    "members": kernels.MEMBERS,
}


class Method(NamedTuple):
    """meaning: one line for `./run.sh list`. kernel: (batch, fusion, out_corners, out_scores) -> (images,) numbers
    of boxes; fusion_kernels.py describes the output."""

    meaning: str
    kernel: Callable[["BoxBatch", "Fusion", np.ndarray, np.ndarray], np.ndarray]


METHODS = {
    "wbf": Method(
        "weighted boxes fusion: boxes of one object become their weighted mean",
        lambda batch, fusion, *out: kernels.weighted_boxes(
            *batch, fusion.iou, fusion.min_score, CONFIDENCES[fusion.confidence], fusion.votes, *out
        ),
    ),
    "nmw": Method(
        "non-maximum weighted: the best box, moved towards those that overlap it",
        lambda batch, fusion, *out: kernels.non_maximum_weighted(*batch, fusion.iou, fusion.min_score, *out),
    ),
    "nms": Method(
        "non-maximum suppression: the best box, without those that overlap it",
        lambda batch, fusion, *out: kernels.suppression(*batch, fusion.iou, fusion.min_score, *out),
    ),
    "soft_nms": Method(
        "soft suppression: overlap with a better box lowers the confidence (Gaussian)",
        lambda batch, fusion, *out: kernels.soft_suppression(
            *batch, fusion.iou, fusion.min_score, False, fusion.sigma, fusion.floor, *out
        ),
    ),
    "soft_nms_linear": Method(
        "soft suppression: overlap with a better box lowers the confidence (linear)",
        lambda batch, fusion, *out: kernels.soft_suppression(
            *batch, fusion.iou, fusion.min_score, True, fusion.sigma, fusion.floor, *out
        ),
    ),
}
BOXES_PER_BATCH = 200_000  # boxes that a thread fuses at once: limits the memory for any number of members


class BoxBatch(NamedTuple):
    """The boxes of some images, of all members together.

    starts: (images + 1,) first box of each image. corners: (n, 4) x1 y1 x2 y2. scores: (n,). member: (n,) number of the
    box's member. weights: (members,).
    """

    starts: np.ndarray
    corners: np.ndarray
    scores: np.ndarray
    member: np.ndarray
    weights: np.ndarray


@dataclass
class Fusion:
    """How boxes of several members become one list.

    method: soft_nms is the Gaussian variant.
    confidence: of a wbf cluster. mean: a member without a box counts as 0. max. box_and_model, absent_model_aware: as
    in ensemble-boxes. votes: the number of members with a box, then the boxes' mean. members: the mean over members of
    each one's best box, 0 where it has none; unlike mean, a second, less confident box of a member does not lower it.
    """

    nms_iou: float = setting(
        0.5, "boxes of one member with a higher IoU are duplicates; 1: no duplicates", above=0, high=1
    )
    method: str = setting("wbf", "how boxes of several members become one", choices=tuple(METHODS))
    iou: float = setting(0.4, "boxes of higher IoU are the same object", above=0, below=1)
    min_score: float = setting(0.01, "boxes of lower confidence are ignored", low=0, high=1)
    confidence: str = setting("members", "how a wbf cluster gets its confidence", choices=tuple(CONFIDENCES))
    votes: int = setting(1, "wbf clusters with boxes of fewer members are dropped", low=1)
    sigma: float = setting(0.5, "soft_nms: width of the Gaussian, in IoU", above=0)
    floor: float = setting(0.001, "soft_nms: boxes whose confidence falls to this or below are dropped", low=0, high=1)


def fuse(
    tables: Sequence[Detections],
    fusion: Fusion,
    weights: Sequence[float] | None = None,
    max_boxes: int = 0,
    threads: int = 0,
) -> Detections:
    """Fuse the boxes of several detection tables that cover the same images in the same order.

    Args:
        weights: (tables,) >= 0, at least one above 0; 1 by default. A table of weight 0 is ignored.
        max_boxes: the most confident boxes that are kept per image; 0: all.
        threads: 0: one per core. The result does not depend on the number.

    Returns:
        Detections with each image's boxes in descending confidence.

    Raises:
        ValueError: tables of different images, an unknown method or confidence, weights that do not fit.
    """
    tables, weights = check_tables(tables, fusion, weights)
    images, firsts = len(tables[0]), first_images(tables)
    bounds = list(zip(firsts, [*firsts[1:], images]))

    def fuse_batch(bound: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batch = BoxBatch(*gather_boxes(tables, *bound), weights)
        out_corners, out_scores = np.empty_like(batch.corners), np.empty_like(batch.scores)
        counts = METHODS[fusion.method].kernel(batch, fusion, out_corners, out_scores)
        counts = np.minimum(counts, max_boxes) if max_boxes else counts
        boxes, scores = np.empty((counts.sum(), 4)), np.empty(counts.sum())
        kernels.compact(batch.starts, counts, out_corners, out_scores, boxes, scores)
        return counts, boxes, scores

    threads = threads or count_cores()
    if threads == 1 or len(bounds) == 1:
        parts = [fuse_batch(bound) for bound in bounds]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(fuse_batch, bounds))
    counts, boxes, scores = (np.concatenate(arrays) for arrays in zip(*parts))
    return Detections(tables[0].ids, offsets_of(counts), boxes, scores)


def check_tables(
    tables: Sequence[Detections], fusion: Fusion, weights: Sequence[float] | None
) -> tuple[list[Detections], np.ndarray]:
    """The tables with a weight above 0, and their weights. Raises ValueError."""
    if fusion.method not in METHODS:
        raise ValueError(f"no fusion method '{fusion.method}'; known: {', '.join(METHODS)}")
    if fusion.confidence not in CONFIDENCES:
        raise ValueError(f"no fusion confidence '{fusion.confidence}'; known: {', '.join(CONFIDENCES)}")
    weights = np.ones(len(tables)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(tables),) or not (weights >= 0).all() or not weights.sum() > 0:
        raise ValueError("weights: one number >= 0 per table, and not all 0")
    if any(table.ids != tables[0].ids for table in tables[1:]):
        raise ValueError("the tables must cover the same images in the same order")
    return [table for table, weight in zip(tables, weights) if weight > 0], weights[weights > 0]


def first_images(tables: Sequence[Detections]) -> list[int]:
    """First images of batches of about BOXES_PER_BATCH boxes; at least one batch."""
    boxes_before = np.sum([table.offsets for table in tables], axis=0)
    batches = max(1, -(-int(boxes_before[-1]) // BOXES_PER_BATCH))
    first_boxes = np.arange(batches) * (boxes_before[-1] / batches)
    return np.unique(np.searchsorted(boxes_before[:-1], first_boxes)).tolist() if len(tables[0]) else [0]


def gather_boxes(tables: Sequence[Detections], first: int, last: int):
    """Gather all members' boxes of images first .. last - 1: starts (images + 1,), corners, scores, member."""
    counts = np.sum([np.diff(table.offsets[first : last + 1]) for table in tables], axis=0).astype(np.int64)
    starts = offsets_of(counts)
    corners, scores = np.empty((starts[-1], 4)), np.empty(starts[-1])
    member, filled = np.empty(starts[-1], dtype=np.int64), np.zeros(last - first, dtype=np.int64)
    for number, table in enumerate(tables):
        kernels.gather(table.offsets, table.boxes, table.scores, first, starts, filled, number, corners, scores, member)
    return starts, corners, scores, member


def suppress(table: Detections, iou: float) -> Detections:
    """Remove duplicates among one member's boxes by greedy non-maximum suppression above `iou`; 1 or more: none."""
    return table if iou >= 1 else fuse([table], Fusion(method="nms", iou=iou, min_score=0.0))
