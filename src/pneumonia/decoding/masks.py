"""Draw boxes as masks to train on, and find boxes in predicted masks."""

import math

import numpy as np
from skimage.measure import label, regionprops
from skimage.segmentation import watershed

from pneumonia.decoding.decoder import ImageBoxes

EDGE = 0.7  # target at the edge of a softened box: above the usual threshold, but lower where two boxes touch
MAX_SIDE = 128  # pixels: larger masks are halved before components are searched
MARGIN = 3  # pixels around a component in which its edge may lie
LEVELS = 6  # thresholds at which a component may fall apart into parts
MAX_RESIDUAL_RATIO = 0.7  # parts are used where their residual is below this share of one box's residual


def rasterize(boxes: np.ndarray, image_size: int, mask_size: int, softness: float = 0.0) -> np.ndarray:
    """Return a (mask_size, mask_size) float32 mask of an image's boxes: the share of each pixel that boxes cover.

    Args:
        boxes: (n, 4) x, y, width, height in pixels of the `image_size` square.
        softness: share of a box's half side, next to its edge, over which its mask falls from 1 to EDGE.
    """
    mask = np.zeros((mask_size, mask_size), np.float32)
    edges = np.arange(mask_size)
    for x, y, width, height in np.asarray(boxes, dtype=np.float64) * (mask_size / image_size):
        columns = np.clip(np.minimum(edges + 1, x + width) - np.maximum(edges, x), 0, 1)
        rows = np.clip(np.minimum(edges + 1, y + height) - np.maximum(edges, y), 0, 1)
        box_mask = np.outer(rows, columns)
        if softness > 0:
            x_distance = np.abs(edges + 0.5 - (x + width / 2)) / (width / 2)  # 0 in the centre, 1 at the edge
            y_distance = np.abs(edges + 0.5 - (y + height / 2)) / (height / 2)
            fall = (np.maximum.outer(y_distance, x_distance) - (1 - softness)) / softness
            box_mask *= 1 - (1 - EDGE) * np.clip(fall, 0, 1)
        np.maximum(mask, box_mask, out=mask)
    return mask


def components(
    probabilities: np.ndarray, image_size: int, threshold: float, min_area: float, softness: float = 0.0
) -> ImageBoxes:
    """Return a box for each connected component above `threshold`; its score is the mean probability inside.

    A component that two boxes explain better than one becomes two. A box's edges are found to fractions of a pixel,
    where the mean probability along them crosses half of its peak: a single pixel that sticks out does not move them.

    Where no pixel reaches the threshold, half of the highest probability is the threshold: every image has candidates
    with low scores, which the score threshold that is tuned later may reject.

    Args:
        probabilities: (mask_size, mask_size); halved while it is larger than MAX_SIDE.
        min_area: smallest component, as a share of the image.
        softness: of the targets that the network was trained on.
    """
    while len(probabilities) > MAX_SIDE and len(probabilities) % 2 == 0:
        half = len(probabilities) // 2
        probabilities = probabilities.reshape(half, 2, half, 2).mean(axis=(1, 3))
    size = len(probabilities)
    level = min(threshold, probabilities.max() / 2)
    labels = label(probabilities > level)
    min_pixels = min_area * size * size
    boxes, scores = [], []
    for region in regionprops(labels):
        if region.area < min_pixels:
            continue
        window = tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in region.slice)
        others = (labels[window] != region.label) & (labels[window] > 0)
        component, inside = np.where(others, 0.0, probabilities[window]), labels[window] == region.label
        for part, part_inside in split_component(component, inside, level, min_pixels, softness):
            x, y, width, height = box_of(part, part_inside, softness)
            boxes.append([window[1].start + x, window[0].start + y, width, height])
            scores.append(part[part_inside].mean())
    return ImageBoxes(np.reshape(boxes, (-1, 4)) * (image_size / size), np.array(scores, dtype=np.float64))


def box_of(probabilities: np.ndarray, inside: np.ndarray, softness: float) -> np.ndarray:
    """Return x, y, width, height of one component, in pixels of its window.

    Args:
        probabilities: (h, w), 0 for pixels of other components.
        inside: (h, w) bool, True for pixels of this component.
    """
    share = (EDGE if softness > 0 else 1.0) / 2  # of the peak: half of a target's value at its edge
    x, y = extent(inside.any(axis=0), 0.0), extent(inside.any(axis=1), 0.0)
    left, top = (max(int(start) - MARGIN, 0) for start, _ in (x, y))
    near = probabilities[top : int(y[1]) + MARGIN, left : int(x[1]) + MARGIN]
    x, y = (x[0] - left, x[1] - left), (y[0] - top, y[1] - top)
    for _ in range(2):  # the first means still include pixels that stick out
        rows, columns = (slice(int(start), math.ceil(end)) for start, end in (y, x))
        x, y = extent(near[rows].mean(axis=0), share), extent(near[:, columns].mean(axis=1), share)
    return np.array([left + x[0], top + y[0], x[1] - x[0], y[1] - y[0]])


def extent(profile: np.ndarray, share: float) -> tuple[float, float]:
    """Return start and end of where a profile is above `share` of its peak; linear between pixel centres (i + 0.5)."""
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
    probabilities: np.ndarray, inside: np.ndarray, level: float, min_pixels: float, softness: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a component's parts, each as (probabilities, inside); only itself where one box explains it as well.

    The threshold is raised until the component falls apart into at least two large enough parts, which a watershed then
    extends to the whole component.
    """
    whole = [(probabilities, inside)]
    for height in np.linspace(level, probabilities.max(), LEVELS + 2)[1:-1]:
        cores = label(inside & (probabilities > height))
        sizes = np.bincount(cores.ravel())[1:]
        if sizes.max(initial=0) < min_pixels:
            break
        if (sizes >= min_pixels).sum() < 2:
            continue
        cores[~np.isin(cores, np.flatnonzero(sizes >= min_pixels) + 1)] = 0
        basins = watershed(-probabilities, cores, mask=inside)
        parts = []
        for number in np.unique(cores[cores > 0]):
            is_other = (basins > 0) & (basins != number)
            parts.append((np.where(is_other, 0.0, probabilities), basins == number))
        max_residual = MAX_RESIDUAL_RATIO * residual(probabilities, inside, whole, softness)
        if residual(probabilities, inside, parts, softness) >= max_residual:
            break
        return [smaller for part in parts for smaller in split_component(*part, height, min_pixels, softness)]
    return whole


def residual(probabilities: np.ndarray, inside: np.ndarray, parts: list, softness: float) -> float:
    """Return the sum of absolute differences between the probabilities and a mask of the parts' boxes, scaled to the
    same sum inside the component."""
    side = max(probabilities.shape)
    boxes = np.array([box_of(*part, softness) for part in parts])
    expected = rasterize(boxes, side, side, softness)[: probabilities.shape[0], : probabilities.shape[1]]
    scale = probabilities[inside].sum() / max(expected[inside].sum(), 1e-9)
    return float(np.abs(probabilities - scale * expected).sum())
