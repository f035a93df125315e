"""A small competition with a known answer."""

import numpy as np
import pytest

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.metrics.iou_map import Truth


@pytest.fixture
def competition():
    return make_competition


def make_competition(images=160, seed=0, oversize=1.0):
    """Truth, three detectors of different scale and noise, a classifier, and people of two images each."""
    generator = np.random.default_rng(seed)
    ids = [f"i{number}" for number in range(images)]
    truth = [generator.uniform(100, 600, size=(count, 2)) for count in generator.choice([0, 0, 1, 2], images)]
    truth = [np.concatenate([corner, np.full((len(corner), 2), 200.0)], axis=1) for corner in truth]
    members = {}
    for name, power in (("a", 1.0), ("b", 4.0), ("c", 0.5)):
        boxes, scores = [], []
        for mine in truth:
            seen = mine[generator.random(len(mine)) < 0.8]
            size = seen[:, 2:] * oversize
            near = np.concatenate([seen[:, :2] + (seen[:, 2:] - size) / 2, size], axis=1)
            near = near + generator.normal(0, 12, seen.shape)
            far = np.concatenate([generator.uniform(0, 700, (1, 2)), generator.uniform(90, 250, (1, 2))], axis=1)
            boxes.append(np.concatenate([near, far]))
            scores.append(np.concatenate([generator.beta(4, 2, len(near)), generator.beta(2, 4, 1)]) ** power)
        members[name] = Detections.from_lists(ids, boxes, scores)
    positive = np.array([len(mine) > 0 for mine in truth])
    opacity = 1 / (1 + np.exp(-np.where(positive, 1.5, -1.5) - generator.normal(0, 1, images)))
    groups = {name: f"person {number // 2}" for number, name in enumerate(ids)}
    return Truth.from_lists(ids, truth), members, {"gate": ClassProbabilities(tuple(ids), opacity)}, groups
