"""U-Nets of segmentation-models: an encoder by name, a decoder of upsampling blocks, a mask at full resolution."""

import contextlib
import io

import keras

from pneumonia.models import pretrained
from pneumonia.models.normalisation import BATCH_NORM_MOMENTUM, gray_input, normalise
from pneumonia.models.unet import MaskFamily
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input

# encoders of segmentation-models 1.0.1, by the input range of their ImageNet weights (normalisation.RANGES)
ENCODERS_OF_RANGE = {
    "unit": ("mobilenet", "mobilenetv2", "inceptionv3", "inceptionresnetv2"),
    "none": (
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("resnext50", "resnext101", "seresnet18", "seresnet34"),
    ),
    "imagenet": (
        *("seresnet50", "seresnet101", "seresnet152", "seresnext50", "seresnext101", "senet154"),
        *(f"efficientnetb{size}" for size in range(8)),
    ),
    "caffe": ("vgg16", "vgg19"),
}
RANGE_OF_ENCODER = {name: input_range for input_range, names in ENCODERS_OF_RANGE.items() for name in names}
DECODER_PREFIXES = ("decoder_", "center_", "final_", "linear")  # of the names of all layers outside the encoder


class SegmentationUNet(MaskFamily):
    """segmentation-models' U-Net with `model.encoder`; mask at the input's size.

    Yakubovskiy, https://github.com/qubvel/segmentation_models; Ronneberger et al., U-Net,
    https://arxiv.org/abs/1505.04597.
    """

    halvings = 0

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        unet = self.unet()
        mask = unet(normalise(gray, RANGE_OF_ENCODER[self.model.encoder]))
        logits = keras.layers.Activation("linear", dtype="float32", name="logits")(mask)
        return keras.Model(gray, {"logits": logits}, name=self.model.name)

    def unet(self) -> keras.Model:
        """Build the U-Net, (batch, size, size, 3) to logits (batch, size, size, 1)."""
        segmentation_models = import_segmentation_models()
        try:
            with pretrained.from_folder(self.model):
                unet = segmentation_models.Unet(
                    self.model.encoder,
                    input_shape=(self.image_size, self.image_size, 3),
                    activation="linear",  # the sigmoid is computed in float32, for all precisions of the layers
                    encoder_weights="imagenet" if self.model.weights == "imagenet" else None,
                )
        except (BadInput, EnvironmentFailure):
            raise
        except Exception as error:  # Keras raises many types for a network that it cannot build
            reason = " ".join(str(error).split())[:200]
            what = f"{self.model.encoder} at {self.image_size} px: {reason}"
            raise bad_input("model.encoder", what, "choose another encoder or image_size") from error
        encoder = [layer for layer in unet.layers if is_encoder(layer)]
        if self.model.weights not in ("none", "imagenet"):
            pretrained.load(keras.Model(unet.input, encoder[-1].output, name=self.model.encoder), self.model)
        for layer in unet.layers:
            is_untrained = self.model.weights == "none" or not is_encoder(layer)
            if is_untrained and isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = BATCH_NORM_MOMENTUM
        return unet

    def freeze(self, network: keras.Model, frozen: bool) -> None:
        """Freeze the encoder, or make it trainable again; the decoder is always trainable."""
        (unet,) = (layer for layer in network.layers if isinstance(layer, keras.Model))
        for layer in unet.layers:
            if is_encoder(layer):
                layer.trainable = not (frozen or self.stays_frozen(layer))


def is_encoder(layer: keras.layers.Layer) -> bool:
    return not layer.name.startswith(DECODER_PREFIXES)


def import_segmentation_models():
    """Import segmentation_models without the line that it prints on import; system/switches.py sets its framework."""
    with contextlib.redirect_stdout(io.StringIO()):
        import segmentation_models
    return segmentation_models
