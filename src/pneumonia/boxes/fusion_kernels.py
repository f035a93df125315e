"""The compiled loops of fusion, one image after another.

Each kernel takes the boxes of a batch of images, of all members together: offsets (images + 1,), corners (n, 4)
x1 y1 x2 y2, scores (n,), member (n,), weights (members,), and writes its results to out_corners and out_scores from
offsets[i] on, most confident first. It returns the number of boxes of each image, (images,).
"""

import numpy as np

from pneumonia.system.jit import jit, jit_fastmath

MEAN, MAXIMUM, BOX_AND_MODEL, ABSENT_MODEL_AWARE, VOTES, MEMBERS = range(6)
GROUP = 8  # clusters that one comparison excludes
SLACK = 1e-9  # of a box's area


@jit
def gather(offsets, boxes, scores, first, starts, filled, number, corners, all_scores, member):
    """Append one member's boxes of images first, first + 1, ... to those images' rows in a batch's arrays."""
    for i in range(len(filled)):
        for row in range(offsets[first + i], offsets[first + i + 1]):
            place = starts[i] + filled[i]
            filled[i] += 1
            corners[place, 0] = boxes[row, 0]
            corners[place, 1] = boxes[row, 1]
            corners[place, 2] = boxes[row, 0] + boxes[row, 2]
            corners[place, 3] = boxes[row, 1] + boxes[row, 3]
            all_scores[place] = scores[row]
            member[place] = number


@jit
def compact(starts, counts, corners, scores, out_boxes, out_scores):
    """Copy the boxes of every image, one after another, as x, y, width, height."""
    place = 0
    for i in range(len(counts)):
        for row in range(starts[i], starts[i] + counts[i]):
            out_boxes[place, 0] = corners[row, 0]
            out_boxes[place, 1] = corners[row, 1]
            out_boxes[place, 2] = corners[row, 2] - corners[row, 0]
            out_boxes[place, 3] = corners[row, 3] - corners[row, 1]
            out_scores[place] = scores[row]
            place += 1


@jit
def overlap(a, b):
    """IoU of two boxes given as corners."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@jit
def weighted_order(scores, member, weights, first, last, min_score, weighted):
    """Rows of one image with a confidence of at least `min_score`, by descending weight x confidence, then by row.
    These products are written to `weighted` (by row, from `first`)."""
    rows = np.empty(last - first, dtype=np.int64)
    keys = np.empty(last - first)
    count = 0
    for row in range(first, last):
        value = scores[row] * weights[member[row]]
        weighted[row - first] = value
        if scores[row] >= min_score and value > 0.0:
            rows[count] = row
            keys[count] = -value
            count += 1
    return rows[:count][np.argsort(keys[:count], kind="mergesort")]


@jit_fastmath
def iou_excess(a1, b1, a2, b2, iou, x1, y1, x2, y2, area, clusters, excess, largest):
    """How far the box's IoU with each cluster exceeds `iou`, as an area: shared - iou * union, written to `excess`; and
    the largest of every GROUP of them, written to `largest`: its entry k is that of clusters k, k + length, ...

    There is no division, branch or reduction, so that both loops run in vector registers. It only excludes clusters
    that cannot match: within SLACK of zero the exact IoU decides. Returns the length of `largest`.
    """
    box_area = (a2 - a1) * (b2 - b1)
    for k in range(clusters):
        width = max(min(a2, x2[k]) - max(a1, x1[k]), 0.0)
        height = max(min(b2, y2[k]) - max(b1, y1[k]), 0.0)
        excess[k] = width * height * (1.0 + iou) - iou * (box_area + area[k])
    length = (clusters + GROUP - 1) // GROUP
    for k in range(clusters, length * GROUP):
        excess[k] = -1e30
    for k in range(length):
        left = max(max(excess[k], excess[k + length]), max(excess[k + 2 * length], excess[k + 3 * length]))
        right = max(
            max(excess[k + 4 * length], excess[k + 5 * length]), max(excess[k + 6 * length], excess[k + 7 * length])
        )
        largest[k] = max(left, right)
    return length


@jit
def weighted_boxes(
    offsets, corners, scores, member, weights, iou, min_score, confidence, votes, out_corners, out_scores
):
    """Weighted box fusion (Solovyev et al. 2021, https://arxiv.org/abs/1910.13302) as ensemble-boxes 1.0.9 computes it;
    `votes` drops clusters to which fewer members contributed."""
    images, members = len(offsets) - 1, len(weights)
    counts = np.zeros(images, dtype=np.int64)
    capacity = 0
    for i in range(images):
        capacity = max(capacity, offsets[i + 1] - offsets[i])
    all_weights, top_weight = weights.sum(), weights.max()
    x1, y1, x2, y2 = np.empty(capacity), np.empty(capacity), np.empty(capacity), np.empty(capacity)
    area = np.empty(capacity)
    excess, largest = np.empty(capacity + GROUP), np.empty(capacity)
    sums = np.empty((capacity, 4))
    value_sum, peak, weight_sum = np.empty(capacity), np.empty(capacity), np.empty(capacity)
    size = np.empty(capacity, dtype=np.int64)
    present = np.zeros((capacity, members), dtype=np.bool_)
    best_sum = np.empty(capacity)  # sum over members of each one's best weighted confidence
    weighted = np.empty(capacity)
    final = np.empty(capacity)
    for i in range(images):
        first = offsets[i]
        clusters = 0
        for row in weighted_order(scores, member, weights, first, offsets[i + 1], min_score, weighted):
            a1, b1, a2, b2 = corners[row, 0], corners[row, 1], corners[row, 2], corners[row, 3]
            box_area = (a2 - a1) * (b2 - b1)
            best, best_iou = -1, iou
            length = iou_excess(a1, b1, a2, b2, iou, x1, y1, x2, y2, area, clusters, excess, largest)
            for group in range(length):
                if largest[group] > -SLACK * box_area:
                    for k in range(group, clusters, length):
                        width = min(a2, x2[k]) - max(a1, x1[k])
                        height = min(b2, y2[k]) - max(b1, y1[k])
                        if width > 0.0 and height > 0.0:
                            shared = width * height
                            value = shared / (box_area + area[k] - shared)
                            if value > best_iou or (value == best_iou and k < best):
                                best, best_iou = k, value
            value = weighted[row - first]
            if best < 0:
                k = clusters
                clusters += 1
                x1[k], y1[k], x2[k], y2[k] = a1, b1, a2, b2
                sums[k, 0], sums[k, 1], sums[k, 2], sums[k, 3] = value * a1, value * b1, value * a2, value * b2
                value_sum[k], peak[k], weight_sum[k], size[k] = value, value, weights[member[row]], 1
                best_sum[k] = 0.0
                present[k, :] = False
            else:
                k = best
                sums[k, 0] += value * a1
                sums[k, 1] += value * b1
                sums[k, 2] += value * a2
                sums[k, 3] += value * b2
                value_sum[k] += value
                peak[k] = max(peak[k], value)
                weight_sum[k] += weights[member[row]]
                size[k] += 1
                x1[k], y1[k] = sums[k, 0] / value_sum[k], sums[k, 1] / value_sum[k]
                x2[k], y2[k] = sums[k, 2] / value_sum[k], sums[k, 3] / value_sum[k]
            area[k] = (x2[k] - x1[k]) * (y2[k] - y1[k])
            if not present[k, member[row]]:  # boxes come in descending confidence: a member's first is its best
                present[k, member[row]] = True
                best_sum[k] += value
        for k in range(clusters):
            voters, voter_weight = 0, 0.0
            for m in range(members):
                if present[k, m]:
                    voters += 1
                    voter_weight += weights[m]
            if voters < votes:
                final[k] = -1.0
            elif confidence == MEAN:
                final[k] = value_sum[k] / size[k] * min(members, size[k]) / all_weights
            elif confidence == MAXIMUM:
                final[k] = peak[k] / top_weight
            elif confidence == BOX_AND_MODEL:
                final[k] = value_sum[k] / weight_sum[k] * voter_weight / all_weights
            elif confidence == ABSENT_MODEL_AWARE:
                final[k] = value_sum[k] / (weight_sum[k] + all_weights - voter_weight)
            elif confidence == MEMBERS:
                final[k] = best_sum[k] / all_weights
            else:
                # by votes; with equal votes, by the mean confidence of the boxes
                final[k] = (voters - 1 + value_sum[k] / weight_sum[k]) / members
        order = np.argsort(-final[:clusters], kind="mergesort")
        for k in order:
            if final[k] >= 0.0:
                place = first + counts[i]
                out_corners[place, 0], out_corners[place, 1] = x1[k], y1[k]
                out_corners[place, 2], out_corners[place, 3] = x2[k], y2[k]
                out_scores[place] = min(final[k], 1.0)
                counts[i] += 1
    return counts


@jit
def non_maximum_weighted(offsets, corners, scores, member, weights, iou, min_score, out_corners, out_scores):
    """Non-maximum weighted: a cluster's box is the mean of its boxes, weighted by confidence x IoU with the best of
    them; its confidence is the best one's. Weights are relative to the largest."""
    images = len(offsets) - 1
    counts = np.zeros(images, dtype=np.int64)
    relative = weights / weights.max()
    for i in range(images):
        first, last = offsets[i], offsets[i + 1]
        weighted = np.empty(last - first)
        heads = np.empty(last - first, dtype=np.int64)
        sums = np.zeros((last - first, 4))
        total = np.zeros(last - first)
        clusters = 0
        for row in weighted_order(scores, member, relative, first, last, min_score, weighted):
            best, best_iou = -1, iou
            for k in range(clusters):
                value = overlap(corners[heads[k]], corners[row])
                if value > best_iou:
                    best, best_iou = k, value
            if best < 0:
                best, best_iou = clusters, 1.0
                heads[clusters] = row
                clusters += 1
            share = weighted[row - first] * best_iou
            total[best] += share
            for side in range(4):
                sums[best, side] += share * corners[row, side]
        for k in range(clusters):  # heads are in descending confidence
            for side in range(4):
                out_corners[first + k, side] = sums[k, side] / total[k]
            out_scores[first + k] = weighted[heads[k] - first]
        counts[i] = clusters
    return counts


@jit
def suppression(offsets, corners, scores, member, weights, iou, min_score, out_corners, out_scores):
    """Greedy non-maximum suppression: a box is dropped if its IoU with a kept one is above `iou`. Weights
    are scaled to sum to the number of members, so that equal weights do not change the confidences."""
    images = len(offsets) - 1
    counts = np.zeros(images, dtype=np.int64)
    relative = weights * (len(weights) / weights.sum())
    for i in range(images):
        first = offsets[i]
        weighted = np.empty(offsets[i + 1] - first)
        for row in weighted_order(scores, member, relative, first, offsets[i + 1], min_score, weighted):
            is_kept = True
            for place in range(first, first + counts[i]):
                if overlap(out_corners[place], corners[row]) > iou:
                    is_kept = False
                    break
            if is_kept:
                place = first + counts[i]
                for side in range(4):
                    out_corners[place, side] = corners[row, side]
                out_scores[place] = min(weighted[row - first], 1.0)
                counts[i] += 1
    return counts


@jit
def soft_suppression(
    offsets, corners, scores, member, weights, iou, min_score, linear, sigma, floor, out_corners, out_scores
):
    """Soft-NMS (Bodla et al. 2017, https://arxiv.org/abs/1704.04503): each box lowers the confidence of the less
    confident boxes that it overlaps, linearly above `iou` or by a Gaussian of width `sigma`; boxes that fall to
    `floor` or below are dropped."""
    images = len(offsets) - 1
    counts = np.zeros(images, dtype=np.int64)
    relative = weights * (len(weights) / weights.sum())
    for i in range(images):
        first = offsets[i]
        weighted = np.empty(offsets[i + 1] - first)
        rows = weighted_order(scores, member, relative, first, offsets[i + 1], min_score, weighted)
        values = weighted[rows - first]
        is_taken = np.zeros(len(rows), dtype=np.bool_)
        for _ in range(len(rows)):
            best = -1
            for j in range(len(rows)):
                if not is_taken[j] and (best < 0 or values[j] > values[best]):
                    best = j
            if values[best] <= floor:
                break
            is_taken[best] = True
            place = first + counts[i]
            for side in range(4):
                out_corners[place, side] = corners[rows[best], side]
            out_scores[place] = min(values[best], 1.0)
            counts[i] += 1
            for j in range(len(rows)):
                if not is_taken[j]:
                    value = overlap(corners[rows[best]], corners[rows[j]])
                    if not linear:
                        values[j] *= np.exp(-value * value / sigma)
                    elif value > iou:
                        values[j] *= 1.0 - value
    return counts
