"""The settings of an experiment (experiments/NAME.yaml): a network, its loss, and how it is trained."""

from dataclasses import dataclass

from pneumonia.schema.models import Model
from pneumonia.schema.setting import MAX_SEED, group, setting


@dataclass
class Loss:
    """Loss of a classifier; localizers have their own."""

    name: str = setting("cross_entropy", "loss function", choices=("cross_entropy", "focal"))
    gamma: float = setting(2.0, "focal: exponent that lowers the weight of easy images", low=0)
    label_smoothing: float = setting(0.0, "share of the label given to the other classes", low=0, below=1)
    class_weights: str | list[float] = setting(
        [], "one weight per class (negative, positive; or three), or balanced", low=0, choices=("balanced",)
    )


@dataclass
class Optimizer:
    name: str = setting("adamw", "optimizer of keras.optimizers", choices=("adamw", "adam", "sgd"))
    learning_rate: float = setting(1e-3, "highest learning rate", above=0)
    weight_decay: float = setting(1e-4, "decoupled weight decay", low=0)
    clip_norm: float = setting(10.0, "largest global gradient norm; 0: no limit", low=0)
    gradient_accumulation_steps: int = setting(
        1, "steps whose gradients are averaged into one update: large batches on small GPUs", low=1
    )


@dataclass
class Schedule:
    name: str = setting(
        "cosine",
        "learning rate after the warm-up; plateau: it falls when the inner loss does not, without a warm-up",
        choices=("cosine", "constant", "plateau"),
    )
    warmup: float = setting(0.05, "share of all steps in which the learning rate rises from 0", low=0, below=1)
    final: float = setting(0.02, "last learning rate as a share of the highest", low=0, high=1)
    factor: float = setting(0.1, "plateau: factor by which the learning rate falls", low=0, high=1)
    patience: int = setting(10, "plateau: epochs without a better inner loss before it falls", low=1)


@dataclass
class Sampling:
    positives: float = setting(0.0, "share of positive images in an epoch; 0: the data's own", low=0, high=1)
    positive_epochs: int = setting(0, "number of first epochs that show positive images only", low=0)
    images: int = setting(0, "images per epoch; 0: as many as the training folds have", low=0)
    hard_negatives: float = setting(
        0.0, "share of the negatives that are sampled by the false positives of hard_from", low=0, high=1
    )
    hard_from: str = setting("", "folder under runs/DATASET/ with runs of fold=all, whose out-of-fold boxes are read")


@dataclass
class PseudoLabels:
    """Test images with another experiment's confident predictions as labels."""

    experiment: str = setting(
        "", "a localizer's folder under runs/DATASET/; its run on the same fold labels the test images"
    )
    min_score: float = setting(0.5, "lowest confidence of a box that becomes a label", above=0, high=1)
    max_negative: float = setting(
        0.05,
        "an image without a box above this confidence becomes a negative; images between are left out",
        low=0,
        below=1,
    )


# settings of an experiment that change neither its weights nor its tables: runs with others of these are the same run
WITHOUT_EFFECT = ("loaders", "tracking", "pictures")


@dataclass
class Experiment:
    model: Model = group(Model, "the network")
    image_size: int = setting(512, "pixels of the model's square input", low=32, high=4096)
    epochs: int = setting(20, "number of epochs", low=1)
    batch_size: int = setting(16, "images per step", low=1)
    loss: Loss = group(Loss, "a classifier's loss")
    optimizer: Optimizer = group(Optimizer, "gradient descent")
    schedule: Schedule = group(Schedule, "learning rate over the steps")
    sampling: Sampling = group(Sampling, "which images an epoch has")
    pseudo_labels: PseudoLabels = group(PseudoLabels, "test images to learn from too")
    ema: float = setting(0.998, "decay per step of the averaged weights; 0: no averaging", low=0, below=1)
    keep: str = setting(
        "last",
        "weights kept: last (averaged where ema > 0), or best by the inner split's loss",
        choices=("last", "best"),
    )
    patience: int = setting(0, "epochs without a better inner loss after which training stops; 0: never", low=0)
    inner_val_fraction: float = setting(
        0.05, "share of the training people in the inner split, whose loss is computed every epoch", low=0, below=1
    )
    augment: str | list = setting(
        "light", "strength (none, report, light, strong) or a list of ./run.sh list what=transforms: [flip,{rotate: 6}]"
    )
    mosaic: float = setting(0.0, "localizer: share of training images that are four, at half size", low=0, high=1)
    mixup: float = setting(0.0, "localizer: share of the other training images that are the mean of two", low=0, high=1)
    tta: list[str] = setting(["identity", "flip"], "test-time augmentation; ./run.sh list what=tta names all")
    max_boxes: int = setting(40, "boxes per image in a prediction table", low=1)
    min_score: float = setting(0.01, "lowest confidence of a box in a prediction table", low=0, high=1)
    seed: int = setting(
        0, "seed of the weights, the batches, their augmentation and the inner split", low=0, high=MAX_SEED
    )
    loaders: int = setting(
        0, "threads that make batches; 0: one on a CPU, eight with a GPU. Their number does not change results", low=0
    )
    tracking: str = setting(
        "tensorboard", "event file in the run's folder: tensorboard, or none", choices=("tensorboard", "none")
    )
    pictures: int = setting(5, "epochs between sample pictures with boxes in the event file; 0: none", low=0)
    precision: str = setting(
        "auto",
        "auto: mixed_bfloat16 on a GPU, float32 on a CPU",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    xla: str = setting(
        "auto",
        "compile steps by XLA: auto (on a GPU; with JAX on a CPU too), on, or off (for debugging; slow with JAX)",
        choices=("auto", "on", "off"),
    )
    deterministic: bool = setting(False, "bit-identical results on a GPU too, where its operations allow it")
    devices: int = setting(1, "devices that share every batch", low=1)
    threads: int = setting(
        0, "threads of one operation; 0: one per core. Their number changes the last bits of results", low=0
    )
