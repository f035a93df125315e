"""The report's two networks without a backbone, with exactly its layers (128 px, three equal channels)."""

from keras import layers

from pneumonia.models.classifiers import Classifier
from pneumonia.models.normalisation import BATCH_NORM_MOMENTUM, normalise

CHANNELS = 3  # the report read its radiographs as colour images


class FCNN(Classifier):
    """Flatten, Dense(128), one dense layer: 6,291,713 parameters at 128 px."""

    def features(self, gray) -> tuple:
        return layers.Dense(128, "relu")(layers.Flatten()(normalise(gray, "unit", CHANNELS))), None


class CNN(Classifier):
    """Four 3 x 3 valid convolutions, three poolings, two dense layers: 11,247,457 parameters at 128 px."""

    def features(self, gray) -> tuple:
        rate = self.model.dropout
        x = normalise(gray, "unit", CHANNELS)
        x = layers.MaxPooling2D()(layers.Conv2D(32, 3, activation="relu")(x))
        x = layers.MaxPooling2D()(layers.Conv2D(32, 3, activation="relu")(x))
        x = layers.Dropout(rate)(x)
        x = layers.Conv2D(64, 3, activation="relu")(x)
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(layers.Conv2D(128, 3, activation="relu")(x))
        x = layers.Dropout(rate)(layers.MaxPooling2D()(x))
        x = layers.Flatten()(x)
        x = layers.Dropout(rate)(layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(layers.Dense(512, "relu")(x)))
        return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(layers.Dense(128, "relu")(x)), None
