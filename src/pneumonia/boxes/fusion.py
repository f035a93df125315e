"""Several box lists into one: of models, of folds, of test-time variants.

The results of ensemble-boxes 1.0.9, in compiled loops of our own (benchmarks/fusion.py has the ratio): tuning fuses
a whole data set hundreds of times. IoU does not change when an axis is scaled, so the boxes stay in pixels.
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
    """meaning: one line for `./run.sh list`. kernel: (batch, fusion, out_corners, out_scores) -> (images,) boxes kept;
    fusion_kernels.py says what it writes."""

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
        "non-maximum weighted: the best box, drawn to those that overlap it",
        lambda batch, fusion, *out: kernels.non_maximum_weighted(*batch, fusion.iou, fusion.min_score, *out),
    ),
    "nms": Method(
        "non-maximum suppression: the best box, the others go",
        lambda batch, fusion, *out: kernels.suppression(*batch, fusion.iou, fusion.min_score, *out),
    ),
    "soft_nms": Method(
        "the others lose confidence by their overlap (Gaussian)",
        lambda batch, fusion, *out: kernels.soft_suppression(
            *batch, fusion.iou, fusion.min_score, False, fusion.sigma, fusion.floor, *out
        ),
    ),
    "soft_nms_linear": Method(
        "the others lose confidence by their overlap (linear)",
        lambda batch, fusion, *out: kernels.soft_suppression(
            *batch, fusion.iou, fusion.min_score, True, fusion.sigma, fusion.floor, *out
        ),
    ),
}
BOXES_PER_RUN = 200_000  # boxes fused at once by one thread: bounds the memory, 25 members or not


class BoxBatch(NamedTuple):
    """The boxes of some images, all members' together.

    starts: (images + 1,) first box of each image. corners: (n, 4) x1 y1 x2 y2. scores: (n,). member: (n,) whose
    box it is. weights: (members,).
    """

    starts: np.ndarray
    corners: np.ndarray
    scores: np.ndarray
    member: np.ndarray
    weights: np.ndarray


@dataclass
class Fusion:
    """How boxes of several members become one list.

    method: soft_nms is the Gaussian kind. confidence, of a wbf cluster: mean (a member that did not find it counts as
    0), max, box_and_model, absent_model_aware (both as in ensemble-boxes), votes (how many members found it; their mean
    within equal votes), or members (the mean over the members of each one's best box, 0 where it has none: unlike with
    mean, a member's faint second box at the same place takes nothing away).
    """

    nms_iou: float = setting(0.5, "boxes of one member with a higher IoU are duplicates; 1: none are", above=0, high=1)
    method: str = setting("wbf", "how boxes of several members become one", choices=tuple(METHODS))
    iou: float = setting(0.4, "boxes of higher IoU are the same object", above=0, below=1)
    min_score: float = setting(0.01, "boxes of lower confidence take no part", low=0, high=1)
    confidence: str = setting("members", "of a wbf cluster", choices=tuple(CONFIDENCES))
    votes: int = setting(1, "wbf clusters that fewer members found are dropped", low=1)
    sigma: float = setting(0.5, "soft_nms: width of the Gaussian, in IoU", above=0)
    floor: float = setting(0.001, "soft_nms: a box whose confidence falls so low goes", low=0, high=1)


def fuse(
    tables: Sequence[Detections],
    fusion: Fusion,
    weights: Sequence[float] | None = None,
    max_boxes: int = 0,
    threads: int = 0,
) -> Detections:
    """Fuse the boxes of several detection tables that cover the same images in the same order.

    Args:
        weights: (tables,) >= 0, at least one above; 1 by default. A table of weight 0 takes no part at all.
        max_boxes: boxes kept per image, the most confident; 0 for all.
        threads: 0: one per core. The result does not depend on it.

    Returns:
        Detections with each image's boxes in descending confidence.

    Raises:
        ValueError: tables of different images, an unknown method or confidence, weights that do not fit.
    """
    tables, weights = participants(tables, fusion, weights)
    images, firsts = len(tables[0]), runs_of(tables)
    bounds = list(zip(firsts, [*firsts[1:], images]))

    def fused(bound: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batch = BoxBatch(*gathered(tables, *bound), weights)
        out_corners, out_scores = np.empty_like(batch.corners), np.empty_like(batch.scores)
        counts = METHODS[fusion.method].kernel(batch, fusion, out_corners, out_scores)
        counts = np.minimum(counts, max_boxes) if max_boxes else counts
        boxes, kept = np.empty((counts.sum(), 4)), np.empty(counts.sum())
        kernels.compact(batch.starts, counts, out_corners, out_scores, boxes, kept)
        return counts, boxes, kept

    threads = threads or count_cores()
    if threads == 1 or len(bounds) == 1:
        parts = [fused(bound) for bound in bounds]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(fused, bounds))
    counts, boxes, scores = (np.concatenate(each) for each in zip(*parts))
    return Detections(tables[0].ids, offsets_of(counts), boxes, scores)


def participants(
    tables: Sequence[Detections], fusion: Fusion, weights: Sequence[float] | None
) -> tuple[list[Detections], np.ndarray]:
    """The tables that take part, and their weights. Raises ValueError."""
    if fusion.method not in METHODS:
        raise ValueError(f"no fusion method '{fusion.method}'; known: {', '.join(METHODS)}")
    if fusion.confidence not in CONFIDENCES:
        raise ValueError(f"no fusion confidence '{fusion.confidence}'; known: {', '.join(CONFIDENCES)}")
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


def suppress(table: Detections, iou: float) -> Detections:
    """One member's boxes without its duplicates: greedy non-maximum suppression above `iou`; 1 or more for none."""
    return table if iou >= 1 else fuse([table], Fusion(method="nms", iou=iou, min_score=0.0))


# variants and folds of one model; the winners used 0.4 to 0.55
SAME_MODEL = Fusion(method="wbf", iou=0.5, min_score=0.0, confidence="mean")


def merge_same_model(tables: Sequence[Detections]) -> Detections:
    """What one model found in several variants of an image, or its folds': weighted boxes, each variant (or fold) that
    missed a box counting as 0 in its confidence."""
    return fuse(tables, SAME_MODEL)
