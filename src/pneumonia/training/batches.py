"""Training batches, a pure function of (seed, epoch, index): bit-identical for any number of loader threads."""

import threading

import keras
import numpy as np

from pneumonia.data.augment import Augmentation
from pneumonia.data.mixing import mixup, mosaic
from pneumonia.data.person_features import model_input
from pneumonia.data.samples import Samples
from pneumonia.models.family import Family


class Batches(keras.utils.PyDataset):
    """The augmented batches of one epoch.

    Each item is `(inputs, targets)`: images (batch, size, size, 1) uint8, or {gray: images, person: features} for a
    network with person inputs; targets as `family.targets` returns them.

    Args:
        order: rows of `samples`, in the order in which the epoch trains on them.
        mosaic, mixup: shares of the images that are made of several, whose others are drawn from the epoch's images;
            their class is the highest (opacity before not normal before normal).
    """

    def __init__(
        self,
        samples: Samples,
        order: np.ndarray,
        batch_size: int,
        family: Family,
        augment: str | list,
        seed: list[int],
        mosaic: float = 0.0,
        mixup: float = 0.0,
    ):
        super().__init__()
        self.samples, self.order, self.batch_size, self.family = samples, order, batch_size, family
        self.augment, self.seed = augment, seed
        self.mosaic, self.mixup = mosaic, mixup
        self.local = threading.local()

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if not hasattr(self.local, "augmentation"):
            self.local.augmentation = Augmentation(self.augment)
        start = index * self.batch_size
        rows = self.order[start : start + self.batch_size]
        images, boxes, classes = zip(*(self.sample(position, row) for position, row in enumerate(rows, start)))
        person_features = None if self.samples.person_features is None else self.samples.person_features[rows]
        inputs = model_input(np.stack(images)[..., None], person_features, self.family.person_inputs)
        return inputs, self.family.targets(list(boxes), np.stack(classes))

    def sample(self, position: int, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return image, boxes and class at a position of the epoch."""
        others = self.others(position)
        parts = [self.augmented(row, [*self.seed, position])]
        parts += [self.augmented(each, [*self.seed, position, place]) for place, each in enumerate(others, 1)]
        images, boxes = (list(each) for each in zip(*parts))
        if len(others):
            mixed_image, mixed_boxes = (mosaic if len(others) == 3 else mixup)(images, boxes)
        else:
            mixed_image, mixed_boxes = images[0], boxes[0]
        return mixed_image, mixed_boxes, self.samples.classes[[row, *others]].max(axis=0)

    def others(self, position: int) -> np.ndarray:
        """Return the rows of the images that are mixed into the one at this position: three, one, or none."""
        if not (self.mosaic or self.mixup):
            return self.order[:0]
        rng = np.random.default_rng([*self.seed, position, 4])  # 1 to 3 are the seeds of the others' augmentation
        is_mosaic, is_mixup = rng.random(2) < (self.mosaic, self.mixup)
        return self.order[rng.integers(len(self.order), size=3 if is_mosaic else int(is_mixup))]

    def augmented(self, row: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return an augmented image and its boxes."""
        state = int(np.random.SeedSequence(seed).generate_state(1)[0])
        return self.local.augmentation(self.samples.images[row], self.samples.boxes[row], state)

    def ids(self, index: int) -> list[str]:
        """Return the patientIds of a batch, for error messages."""
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return [str(self.samples.ids[row]) for row in rows]
