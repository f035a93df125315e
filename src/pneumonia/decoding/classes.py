"""Probabilities from logits: of a classifier, and of a localizer's output for the whole image."""

import numpy as np
from scipy.special import expit, softmax

from pneumonia.data.labels import HEADS, LabelSet
from pneumonia.decoding.decoder import Decoder
from pneumonia.schema.models import PlainClassifier

IMAGE_LOGITS = "image_logits"


class ClassDecoder(Decoder):
    """Of `logits` (batch, labels): softmax where the labels exclude each other, else a sigmoid for each."""

    kind = "classifier"
    model: PlainClassifier

    @property
    def label_set(self) -> LabelSet:
        """The labels that the logits stand for, in their order."""
        return HEADS[self.model.head]

    @property
    def person_inputs(self) -> tuple[str, ...]:
        return tuple(self.model.inputs)

    def decode(self, outputs: dict[str, np.ndarray]) -> np.ndarray:
        logits = np.asarray(outputs["logits"], dtype=np.float64)
        return softmax(logits, axis=1) if self.label_set.exclusive else expit(logits)


class ImageClassDecoder(Decoder):
    """Of a localizer with the output `image_logits` where `model.image_loss`, the weight of its loss, is above 0."""

    kind = "localizer"

    @property
    def has_image_output(self) -> bool:
        return self.model.image_loss > 0

    def decode_classes(self, outputs: dict[str, np.ndarray]) -> np.ndarray | None:
        """Return (batch, 3) probabilities of normal, not normal and opacity, or None without this output."""
        if not self.has_image_output:
            return None
        return softmax(np.asarray(outputs[IMAGE_LOGITS], dtype=np.float64), axis=1)
