"""Geometry and exposure drawn from normal distributions, as the winners of 2018 did; albumentations draws evenly."""

import albumentations as A
import cv2
import numpy as np

ON_EDGE = np.array([0.25, 0.5, 0.75])  # positions of points on each edge of a box, as shares of the edge


class Warp(A.DualTransform):
    """Shift, scale, rotate and shear about the centre, in one resampling; outside is black.

    A box is mapped by points on its edges, as second place of 2018 did, not by its corners: rotated corners reach
    beyond the finding.

    Args:
        shift: largest shift to either side, as a share of the image's side; drawn evenly.
        scale: sigma of log2 of the factor.
        rotate, shear: sigma in degrees.
    """

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES)

    def __init__(self, shift=0.0, scale=0.0, rotate=0.0, shear=0.0, p=1.0):
        super().__init__(p=p)
        self.shift, self.scale, self.rotate, self.shear = shift, scale, rotate, shear

    def get_params_dependent_on_data(self, params, data):
        height, width = params["shape"][:2]
        scale, angle, shear = self.random_generator.normal(0.0, (self.scale, self.rotate, self.shear))
        shift = self.random_generator.uniform(-self.shift, self.shift, 2) * (width, height)
        angle, shear = np.deg2rad(angle), np.deg2rad(shear)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = 2.0**scale * rotation @ np.array([[1.0, np.tan(shear)], [0.0, 1.0]])
        centre = np.array([width, height]) / 2
        return {"matrix": np.column_stack([linear, centre + shift - linear @ centre])}

    def apply(self, img, matrix, **params):
        # OpenCV's origin is the centre of the first pixel, that of boxes is its corner
        centred = matrix.copy()
        centred[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
        height, width = img.shape[:2]
        return cv2.warpAffine(img, centred, (width, height), flags=cv2.INTER_LINEAR).reshape(img.shape)

    def apply_to_bboxes(self, bboxes, matrix, **params):
        height, width = params["shape"][:2]
        corners = bboxes[:, :4] * (width, height, width, height)
        mapped = edge_points(corners) @ matrix[:, :2].T + matrix[:, 2]
        frame = np.concatenate([mapped.min(axis=1), mapped.max(axis=1)], axis=1) / (width, height, width, height)
        return np.concatenate([frame, bboxes[:, 4:]], axis=1)


class BoxJitter(A.DualTransform):
    """Move each side of each box, and leave the image as it is: radiologists disagree about where a finding ends.

    Args:
        sigma: of a side's move, as a share of the box's width or height; moves end at two sigma.
    """

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES)

    def __init__(self, sigma=0.0, p=1.0):
        super().__init__(p=p)
        self.sigma = sigma

    def get_params(self):
        # one draw, however many boxes: what follows in the list does not depend on their number
        return {"seed": int(self.random_generator.integers(2**32))}

    def apply(self, img, seed, **params):
        return img

    def apply_to_bboxes(self, bboxes, seed, **params):
        moves = np.clip(np.random.default_rng(seed).normal(size=(len(bboxes), 4)), -2, 2) * self.sigma
        size = np.tile(bboxes[:, 2:4] - bboxes[:, :2], 2)
        return np.concatenate([bboxes[:, :4] + moves * size, bboxes[:, 4:]], axis=1)


def edge_points(corners: np.ndarray) -> np.ndarray:
    """(n, 4) left, top, right, bottom to (n, 12, 2) x, y: three points on each edge."""
    left, top, right, bottom = (side[:, None] for side in np.reshape(corners, (-1, 4)).T)
    across, down = left + (right - left) * ON_EDGE, top + (bottom - top) * ON_EDGE
    same_x, same_y = np.ones_like(down), np.ones_like(across)
    x = np.concatenate([across, across, left * same_x, right * same_x], axis=1)
    y = np.concatenate([top * same_y, bottom * same_y, down, down], axis=1)
    return np.stack([x, y], axis=-1)


class Exposure(A.ImageOnlyTransform):
    """Gamma, brightness and contrast of a uint8 image, in one look-up.

    Args:
        gamma: sigma of log2 of the exponent.
        brightness, contrast: largest change up or down, as shares of the full range and of 1; drawn evenly.
    """

    def __init__(self, gamma=0.0, brightness=0.0, contrast=0.0, p=1.0):
        super().__init__(p=p)
        self.gamma, self.brightness, self.contrast = gamma, brightness, contrast

    def get_params(self):
        exponent = 2.0 ** self.random_generator.normal(0.0, self.gamma)
        offset = self.random_generator.uniform(-self.brightness, self.brightness)
        factor = 1.0 + self.random_generator.uniform(-self.contrast, self.contrast)
        levels = (np.arange(256) / 255) ** exponent
        levels = (levels - 0.5) * factor + 0.5 + offset
        return {"table": np.rint(255 * np.clip(levels, 0.0, 1.0)).astype(np.uint8)}

    def apply(self, img, table, **params):
        return cv2.LUT(img, table).reshape(img.shape)
