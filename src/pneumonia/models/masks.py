"""Boxes as masks to train on, and masks back to boxes."""

import math

import numpy as np
from skimage.measure import label, regionprops
from skimage.segmentation import watershed

from pneumonia.models.family import ImageBoxes

EDGE = 0.7  # a softened target at a box's edge: above the usual threshold, and yet a valley where two boxes touch
FINEST = 128  # pixels along a mask in which components are looked for
MARGIN = 3  # pixels around a component in which its edge may lie
LEVELS = 6  # heights at which a component is looked at for parts
GAIN = 0.7  # parts are kept where they leave less than this share of what one box leaves unexplained


def rasterize(boxes: np.ndarray, image_size: int, mask_size: int, softness: float = 0.0) -> np.ndarray:
    """A (mask_size, mask_size) float32 mask of an image's boxes: each pixel's share that boxes cover.

    Args:
        boxes: (n, 4) x, y, width, height in pixels of the `image_size` square.
        softness: share of a box's half side, from its edge inwards, over which its mask falls from 1 to EDGE.
    """
    mask = np.zeros((mask_size, mask_size), np.float32)
    edges = np.arange(mask_size)
    for x, y, width, height in np.asarray(boxes, dtype=np.float64) * (mask_size / image_size):
        columns = np.clip(np.minimum(edges + 1, x + width) - np.maximum(edges, x), 0, 1)
        rows = np.clip(np.minimum(edges + 1, y + height) - np.maximum(edges, y), 0, 1)
        own = np.outer(rows, columns)
        if softness > 0:
            across = np.abs(edges + 0.5 - (x + width / 2)) / (width / 2)  # 0 in the middle, 1 at the edge
            down = np.abs(edges + 0.5 - (y + height / 2)) / (height / 2)
            near_edge = (np.maximum.outer(down, across) - (1 - softness)) / softness
            own *= 1 - (1 - EDGE) * np.clip(near_edge, 0, 1)
        np.maximum(mask, own, out=mask)
    return mask


def components(
    probabilities: np.ndarray, image_size: int, threshold: float, min_area: float, softness: float = 0.0
) -> ImageBoxes:
    """Boxes of the connected components above `threshold`, confidence being the mean probability inside.

    A component whose probabilities are better explained by two boxes than by one becomes two. A box's edges lie between
    pixels, where the mean probability along them crosses half of its peak: one pixel that sticks out moves no edge.

    Where nothing reaches the threshold, half of the highest probability takes its place: an image always offers its
    best candidates with their low confidence, and what is too low is left to the threshold that is tuned later.

    Args:
        probabilities: (mask_size, mask_size); halved as long as it is larger than FINEST, as edges lie between pixels.
        min_area: smallest component, as a share of the image.
        softness: of the targets that the network was trained on.
    """
    while len(probabilities) > FINEST and len(probabilities) % 2 == 0:
        half = len(probabilities) // 2
        probabilities = probabilities.reshape(half, 2, half, 2).mean(axis=(1, 3))
    size = len(probabilities)
    level = min(threshold, probabilities.max() / 2)
    labels = label(probabilities > level)
    smallest = min_area * size * size
    boxes, scores = [], []
    for region in regionprops(labels):
        if region.area < smallest:
            continue
        window = tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in region.slice)
        others = (labels[window] != region.label) & (labels[window] > 0)
        own, inside = np.where(others, 0.0, probabilities[window]), labels[window] == region.label
        for part, part_inside in split_component(own, inside, level, smallest, softness):
            x, y, width, height = box_of(part, part_inside, softness)
            boxes.append([window[1].start + x, window[0].start + y, width, height])
            scores.append(part[part_inside].mean())
    return ImageBoxes(np.reshape(boxes, (-1, 4)) * (image_size / size), np.array(scores, dtype=np.float64))


def box_of(probabilities: np.ndarray, inside: np.ndarray, softness: float) -> np.ndarray:
    """x, y, width, height of one component, in pixels of its window.

    Args:
        probabilities: (h, w), 0 where they belong to something else.
        inside: (h, w) bool: the component.
    """
    share = (EDGE if softness > 0 else 1.0) / 2  # of the peak: half of what a target has at its edge
    x, y = extent(inside.any(axis=0), 0.0), extent(inside.any(axis=1), 0.0)
    left, top = (max(int(start) - MARGIN, 0) for start, _ in (x, y))
    near = probabilities[top : int(y[1]) + MARGIN, left : int(x[1]) + MARGIN]
    x, y = (x[0] - left, x[1] - left), (y[0] - top, y[1] - top)
    for _ in range(2):  # the first time the means go over what sticks out, too
        rows, columns = (slice(int(start), math.ceil(end)) for start, end in (y, x))
        x, y = extent(near[rows].mean(axis=0), share), extent(near[:, columns].mean(axis=1), share)
    return np.array([left + x[0], top + y[0], x[1] - x[0], y[1] - y[0]])


def extent(profile: np.ndarray, share: float) -> tuple[float, float]:
    """From where to where a profile lies above `share` of its peak, between pixel centres (i + 0.5) linearly."""
    level = share * profile.max()
    first, last = np.flatnonzero(profile > level)[[0, -1]]
    start, end = float(first), float(last + 1)
    if share and first > 0:
        start = first + 0.5 - (profile[first] - level) / (profile[first] - profile[first - 1])
    if share and last + 1 < len(profile):
        end = last + 0.5 + (profile[last] - level) / (profile[last] - profile[last + 1])
    return start, end


# ------------------------------------------------------------------ boxes that touch


def split_component(
    probabilities: np.ndarray, inside: np.ndarray, level: float, smallest: float, softness: float
) -> list:
    """A component as its parts, each as `probabilities, inside`; itself alone where one box explains it as well.

    Parts are what is left of the component at the lowest of some higher levels at which at least two are large enough,
    grown back to the level at which it was found.
    """
    whole = [(probabilities, inside)]
    for height in np.linspace(level, probabilities.max(), LEVELS + 2)[1:-1]:
        cores = label(inside & (probabilities > height))
        sizes = np.bincount(cores.ravel())[1:]
        if sizes.max(initial=0) < smallest:
            break
        if (sizes >= smallest).sum() < 2:
            continue
        cores[~np.isin(cores, np.flatnonzero(sizes >= smallest) + 1)] = 0
        grown = watershed(-probabilities, cores, mask=inside)
        split = []
        for name in np.unique(cores[cores > 0]):
            own = np.where((grown > 0) & (grown != name), 0.0, probabilities)
            split.append((own, grown == name))
        unexplained_by_parts = unexplained(probabilities, inside, split, softness)
        if unexplained_by_parts >= GAIN * unexplained(probabilities, inside, whole, softness):
            break
        return [smaller for part in split for smaller in split_component(*part, height, smallest, softness)]
    return whole


def unexplained(probabilities: np.ndarray, inside: np.ndarray, parts: list, softness: float) -> float:
    """How far probabilities are from those that a network would give which is as sure as this one, and sees the boxes
    of `parts`: the sum of absolute differences."""
    side = max(probabilities.shape)
    boxes = np.array([box_of(*part, softness) for part in parts])
    expected = rasterize(boxes, side, side, softness)[: probabilities.shape[0], : probabilities.shape[1]]
    scale = probabilities[inside].sum() / max(expected[inside].sum(), 1e-9)
    return float(np.abs(probabilities - scale * expected).sum())
