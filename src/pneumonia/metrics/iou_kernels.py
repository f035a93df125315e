"""The compiled loops of the metric. Boxes are x, y, width, height in one unit; areas are width * height, without +1."""

import numpy as np

from pneumonia.system.jit import jit

STEPS = 8
FIRST_STEP = 8  # thresholds k / 20, k = 8 .. 15: 0.40, 0.45, ..., 0.75


@jit
def iou(a, b):
    """Return the intersection over union of two boxes, (4,) each."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    intersection = width * height
    return intersection / (a[2] * a[3] + b[2] * b[3] - intersection)


@jit
def match(box, truth, taken, hits):
    """Match one prediction, at each threshold, with the unmatched true box of highest IoU if that is strictly above it.

    Args:
        taken: (8, truths) bool, changed: true boxes that are matched.
        hits: (8,) int64, changed: number of matches.
    """
    ious = np.empty(len(truth))
    highest = 0.0
    for j in range(len(truth)):
        ious[j] = iou(box, truth[j])
        highest = max(highest, ious[j])
    for step in range(STEPS):
        threshold = (FIRST_STEP + step) / 20.0
        if highest <= threshold:
            break
        best, best_iou = -1, threshold
        for j in range(len(truth)):
            if not taken[step, j] and ious[j] > best_iou:
                best, best_iou = j, ious[j]
        if best >= 0:
            taken[step, best] = True
            hits[step] += 1


@jit
def image_score_after(hits, predictions, truths):
    """Return the mean over the thresholds of TP / (TP + FP + FN), which is TP / (predictions + truths - TP)."""
    total = 0.0
    for step in range(STEPS):
        total += hits[step] / (predictions + truths - hits[step])
    return total / STEPS


@jit
def scores_kernel(truth_offsets, truth, offsets, boxes):
    """Return the score of every image; NaN where it does not count. Boxes are in descending confidence per image."""
    images = len(offsets) - 1
    scores = np.empty(images)
    for i in range(images):
        truths = truth_offsets[i + 1] - truth_offsets[i]
        predictions = offsets[i + 1] - offsets[i]
        if truths == 0:
            scores[i] = np.nan if predictions == 0 else 0.0
            continue
        true_boxes = truth[truth_offsets[i] : truth_offsets[i + 1]]
        taken = np.zeros((STEPS, truths), dtype=np.bool_)
        hits = np.zeros(STEPS, dtype=np.int64)
        for row in range(offsets[i], offsets[i + 1]):
            match(boxes[row], true_boxes, taken, hits)
        scores[i] = image_score_after(hits, predictions, truths)
    return scores


@jit
def steps_kernel(truth_offsets, truth, offsets, boxes):
    """Return how each box, in descending confidence, changes its image's score, and whether it makes the image count.

    Returns gains (n,) and counted (n,): 1.0 for the first box of an image without true boxes, else 0.0.
    """
    gains = np.zeros(len(boxes))
    counted = np.zeros(len(boxes))
    for i in range(len(offsets) - 1):
        truths = truth_offsets[i + 1] - truth_offsets[i]
        if truths == 0:
            if offsets[i + 1] > offsets[i]:
                counted[offsets[i]] = 1.0
            continue
        true_boxes = truth[truth_offsets[i] : truth_offsets[i + 1]]
        taken = np.zeros((STEPS, truths), dtype=np.bool_)
        hits = np.zeros(STEPS, dtype=np.int64)
        before = 0.0
        for row in range(offsets[i], offsets[i + 1]):
            match(boxes[row], true_boxes, taken, hits)
            after = image_score_after(hits, row - offsets[i] + 1, truths)
            gains[row] = after - before
            before = after
    return gains, counted


@jit
def matches_kernel(truth_offsets, truth, offsets, boxes):
    """Return for each box, in descending confidence, whether it matches at each threshold; (n, 8) bool."""
    matched = np.zeros((len(boxes), STEPS), dtype=np.bool_)
    for i in range(len(offsets) - 1):
        truths = truth_offsets[i + 1] - truth_offsets[i]
        if truths == 0:
            continue
        true_boxes = truth[truth_offsets[i] : truth_offsets[i + 1]]
        taken = np.zeros((STEPS, truths), dtype=np.bool_)
        hits, before = np.zeros(STEPS, dtype=np.int64), np.zeros(STEPS, dtype=np.int64)
        for row in range(offsets[i], offsets[i + 1]):
            match(boxes[row], true_boxes, taken, hits)
            for step in range(STEPS):
                matched[row, step] = hits[step] > before[step]
                before[step] = hits[step]
    return matched
