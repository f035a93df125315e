"""Training batches, a pure function of (seed, epoch, index): bit-identical for any number of loader threads."""

import threading

import keras
import numpy as np

from pneumonia.data.augment import Augmentation
from pneumonia.data.person_features import model_input
from pneumonia.data.samples import Samples
from pneumonia.models.family import Family


class Batches(keras.utils.PyDataset):
    """The augmented batches of one epoch.

    Each item is `(inputs, targets)`: images (batch, size, size, 1) uint8, or {gray: images, person: features} for a
    network with person inputs; targets as `family.targets` returns them.

    order: rows of `samples`, in the order in which the epoch trains on them.
    """

    def __init__(
        self,
        samples: Samples,
        order: np.ndarray,
        batch_size: int,
        family: Family,
        augment: str | list,
        seed: list[int],
    ):
        super().__init__()
        self.samples, self.order, self.batch_size, self.family = samples, order, batch_size, family
        self.augment, self.seed = augment, seed
        self.local = threading.local()

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if not hasattr(self.local, "augmentation"):
            self.local.augmentation = Augmentation(self.augment)
        start = index * self.batch_size
        rows = self.order[start : start + self.batch_size]
        images, boxes = [], []
        for position, row in enumerate(rows, start):
            seed = int(np.random.SeedSequence([*self.seed, position]).generate_state(1)[0])
            image, boxes_inside = self.local.augmentation(self.samples.images[row], self.samples.boxes[row], seed)
            images.append(image)
            boxes.append(boxes_inside)
        person_features = None if self.samples.person_features is None else self.samples.person_features[rows]
        inputs = model_input(np.stack(images)[..., None], person_features, self.family.person_inputs)
        return inputs, self.family.targets(boxes, self.samples.classes[rows])

    def ids(self, index: int) -> list[str]:
        """Return the patientIds of a batch, for error messages."""
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return [str(self.samples.ids[row]) for row in rows]
