"""Settings of the networks, one dataclass per family. Nothing here imports Keras: a network that cannot be is refused
before any process imports it. FAMILIES says which settings and which code a family has."""

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
    """What every family has. Its subclasses add their settings: one of another family is an unknown key."""

    name: str = setting("", "family, or a backbone of keras.applications; ./run.sh list what=models names all")

    multiple_of: ClassVar[int] = 1  # pixels: input sizes that the network can halve as often as it does
    published_weights: ClassVar[tuple[str, ...]] = ()  # names that `weights` takes beside none, a file and run:
    # what a family without these settings has in their place; no annotations, or a dataclass would take them for fields
    weights = "none"
    frozen_epochs = 0
    head = ""

    @classmethod
    def kind_for(cls, tree: Mapping[str, Any]) -> type:
        """The settings that `name` asks for. Raises BadInput for an unknown one."""
        name = tree.get("name", "")
        return settings_of(name) if cls is Model and name else cls


@dataclass
class Pretrained(Model):
    """What has a backbone that can start from weights, and stand still at first."""

    weights: str = setting(
        "none",
        "at the start: none, imagenet, chexnet, a weights FILE or run:EXPERIMENT; the backbone's, and all where "
        "the run is of the same network",
    )
    weights_folder: str = setting("", "where pretrained files lie; default $PNEUMONIA_WEIGHTS, else Keras's download")
    weights_sha256: str = setting("", "checksum of a weights file that is not on the known list")
    frozen_epochs: int = setting(0, "first epochs in which the backbone is frozen; -1: all of them", low=-1)

    published_weights: ClassVar[tuple[str, ...]] = ("imagenet",)


# ------------------------------------------------------------------ classifiers


@dataclass
class PlainClassifier(Model):
    """The report's networks without a backbone: nothing to start from, and nothing to freeze."""

    head: str = setting(
        "binary",
        "output: binary (opacity), classes (normal, not_normal, opacity) or nih (14 labels)",
        choices=("binary", "classes", "nih"),
    )
    inputs: list[str] = setting([], "what it sees beside the image", choices=("age", "sex", "view"))
    dropout: float = setting(0.2, "share of the features left out before the last layer", low=0, below=1)


@dataclass
class Classifier(PlainClassifier, Pretrained):
    """A backbone of keras.applications, global pooling, dropout, one dense layer."""

    pooling: str = setting("average", "over the last feature map", choices=("average", "max", "both"))
    cell_loss: float = setting(0.0, "weight of also learning which cells of the last feature map boxes cover", low=0)


@dataclass
class MobileNetClassifier(Classifier):
    """keras.applications' only backbones with a width."""

    alpha: float = setting(1.0, "width multiplier", above=0)


# ------------------------------------------------------------------ localizers


@dataclass
class BoxRegressor(Pretrained):
    alpha: float = setting(1.0, "width multiplier of the MobileNetV2", above=0)

    multiple_of: ClassVar[int] = 32


@dataclass
class Masks(Pretrained):
    """What predicts a mask, of whose components boxes are made."""

    mask_losses: dict[str, float] = setting(
        {"cross_entropy": 1.0, "dice": 1.0},
        "weights of the losses",
        low=0,
        choices=("cross_entropy", "dice", "focal", "iou"),
    )
    mask_softness: float = setting(
        0.0, "share of a box's half side over which its target falls off; 0: filled", low=0, high=1
    )
    mask_threshold: float = setting(0.5, "probability at which a pixel belongs to a box", above=0, below=1)
    min_area: float = setting(0.004, "smallest component kept, as a share of the image", low=0, below=1)
    mask_fit: bool = setting(True, "other values of the last two, if better on the inner images")

    multiple_of: ClassVar[int] = 32


@dataclass
class MobileNetUNet(Masks):
    alpha: float = setting(1.0, "width multiplier of the MobileNet", above=0)


@dataclass
class SegmentationUNet(Masks):
    encoder: str = setting("mobilenetv2", "encoder of segmentation-models", choices=ENCODERS)


@dataclass
class YOLOv8(Pretrained):
    size: str = setting("xs", "of the network", choices=("xs", "s", "m"))
    class_loss: str = setting("cross_entropy", "of the anchors' class", choices=("cross_entropy", "focal"))
    distribution_loss: float = setting(1.5, "weight of the distribution focal loss; 0 for none", low=0)
    class_prior: float = setting(
        0.01, "an anchor's probability of a finding at the start; 0: zero biases", low=0, below=1
    )
    image_loss: float = setting(0.0, "weight of an image-wide 3-class output beside the boxes", low=0)
    dropout: float = setting(0.2, "before the image-wide output's layer", low=0, below=1)

    multiple_of: ClassVar[int] = 32
    published_weights: ClassVar[tuple[str, ...]] = ()


# ------------------------------------------------------------------ by name


class Entry(NamedTuple):
    """settings: a family's dataclass. code: "module:Class", imported by models/registry.py when it is asked for."""

    settings: type[Model]
    code: str


FAMILIES: dict[str, Entry] = {
    "chexnet": Entry(Classifier, "pneumonia.models.classifiers:CheXNet"),
    "fcnn": Entry(PlainClassifier, "pneumonia.models.plain_classifiers:FCNN"),
    "cnn": Entry(PlainClassifier, "pneumonia.models.plain_classifiers:CNN"),
    "box_regressor": Entry(BoxRegressor, "pneumonia.models.box_regressor:BoxRegressor"),
    "mobilenet_unet": Entry(MobileNetUNet, "pneumonia.models.unet:MobileNetUNet"),
    "segmentation_unet": Entry(SegmentationUNet, "pneumonia.models.segmentation_unet:SegmentationUNet"),
    "yolov8": Entry(YOLOv8, "pneumonia.models.yolo.family:YOLOv8"),
}
ANY_BACKBONE = "pneumonia.models.classifiers:Application"  # a classifier on keras.applications' backbone of that name


def model_names() -> list[str]:
    """Everything that `model.name` takes."""
    return [*FAMILIES, *KERAS_APPLICATIONS]


def settings_of(name: str) -> type[Model]:
    """The dataclass of a family, or of a backbone of keras.applications. Raises BadInput for an unknown name."""
    if name in FAMILIES:
        return FAMILIES[name].settings
    if name in KERAS_APPLICATIONS:
        return MobileNetClassifier if name.startswith("mobilenet") else Classifier
    raise bad_input("model.name", f"unknown model '{name}'", nearest(name, model_names()))
