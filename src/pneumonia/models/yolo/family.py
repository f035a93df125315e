"""YOLOv8: keras-cv's network with our targets, losses and decoder."""

import keras
from keras import ops

from pneumonia.decoding.anchor_boxes import STRIDES, YOLOv8Decoder, anchor_points
from pneumonia.models import pretrained
from pneumonia.models.backbones import build_pyramid
from pneumonia.models.detector import Detector
from pneumonia.models.normalisation import gray_input, normalise, set_batch_norm_momentum
from pneumonia.models.yolo import losses as objective
from pneumonia.models.yolo.network import build_backbone, expected_distances, outputs_of, project, pyramid


class YOLOv8(YOLOv8Decoder, Detector):
    """Sizes xs, s and m of keras-cv's YOLOv8, with one class: opacity; with `model.backbone` on another backbone."""

    def build(self) -> keras.Model:
        model, gray = self.model, gray_input(self.image_size)
        if model.backbone:
            backbone, input_range = build_pyramid(model, model.backbone, self.image_size, STRIDES)
            maps = backbone(normalise(gray, input_range))
            features = project(maps, model.size)
        else:
            backbone = build_backbone(model.size, self.image_size)
            maps = features = backbone(keras.layers.Concatenate(name="gray_to_channels")([gray] * 3))
        features = pyramid(features, model.size)
        outputs = outputs_of(features, model.class_prior) | self.image_outputs(maps[-1], features)
        network = keras.Model(gray, outputs, name=f"yolov8_{model.size}")
        for layer in network.layers:
            if not (model.backbone and layer is backbone):  # build_pyramid has set that of another backbone
                set_batch_norm_momentum(layer)
        if not model.backbone and model.weights != "none":
            pretrained.load(backbone, model)
        return network

    def losses(self, targets: dict, outputs: dict) -> dict:
        points, strides = anchor_points(self.image_size)
        points, strides = ops.convert_to_tensor(points), ops.convert_to_tensor(strides)
        sides = expected_distances(outputs["distances"]) * strides[None, :, None]
        predicted = objective.from_distances(sides, points)
        losses = objective.losses(
            objective.Prediction(outputs["distances"], outputs["logits"], predicted),
            objective.Anchors(points, strides),
            targets["corners"],
            targets["is_box"],
            self.model.class_loss,
            self.model.distribution_loss,
        )
        return losses | self.image_losses(targets, outputs)
