"""Every setting of every command, typed, with its line of `--help`. config.py reads command lines and files into it."""

import os
from dataclasses import dataclass, field
from typing import Any

from pneumonia.system.errors import bad_input

PRESETS = ("smoke", "quick", "full")


def setting(default: Any, help: str):
    """A dataclass field with its line of `--help`."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


# ------------------------------------------------------------------ what an experiment file says


@dataclass
class Model:
    name: str = setting(
        "", "family in models/registry.py: densenet121, chexnet, mobilenetv2, mobilenet_unet, yolov8, ..."
    )
    weights: str = setting(
        "none",
        "at the start: none, imagenet, chexnet, a weights FILE or run:EXPERIMENT; the backbone's, and all where "
        "the run is of the same network",
    )
    weights_folder: str = setting("", "where pretrained files lie; default $PNEUMONIA_WEIGHTS, else Keras's download")
    weights_sha256: str = setting("", "checksum of a weights file that is not on the known list")
    frozen_epochs: int = setting(0, "first epochs in which the backbone stands still; -1: all of them")
    # classifiers
    head: str = setting(
        "binary", "classifier output: binary (opacity), classes (normal, not_normal, opacity) or nih (14)"
    )
    pooling: str = setting("average", "classifier: average, max, or both, over the last feature map")
    inputs: list[str] = setting([], "classifier: what it sees beside the image: age, sex, view")
    cell_loss: float = setting(0.0, "classifier: weight of also telling which cells of a feature map boxes cover")
    dropout: float = setting(0.2, "before the last layer")
    alpha: float = setting(1.0, "width multiplier of the MobileNets")
    # localizers
    size: str = setting("xs", "yolov8: xs, s or m")
    class_loss: str = setting("cross_entropy", "yolov8: cross_entropy or focal")
    distribution_loss: float = setting(1.5, "yolov8: weight of the distribution focal loss; 0 for none")
    class_prior: float = setting(0.01, "yolov8: an anchor's probability of a finding at the start; 0: zero biases")
    image_loss: float = setting(0.0, "yolov8: weight of an image-wide 3-class output beside the boxes")
    encoder: str = setting("mobilenetv2", "segmentation_unet: encoder of segmentation-models")
    mask_losses: dict[str, float] = setting(
        {"cross_entropy": 1.0, "dice": 1.0}, "masks: weights of cross_entropy, dice, focal, iou"
    )
    mask_softness: float = setting(0.0, "masks: share of a box's half side over which its target falls off; 0: filled")
    mask_threshold: float = setting(0.5, "masks to boxes: probability at which a pixel belongs to a box")
    min_area: float = setting(0.004, "masks to boxes: smallest component kept, as a share of the image")
    mask_fit: bool = setting(True, "masks to boxes: other values of these two, if better on the inner images")


@dataclass
class Loss:
    """A classifier's."""

    name: str = setting("cross_entropy", "cross_entropy or focal")
    gamma: float = setting(2.0, "focal: how much less the easy images count")
    label_smoothing: float = setting(0.0, "share of the label given to the other classes")
    class_weights: Any = setting([], "one weight per class (negative, positive; or three), or balanced")


@dataclass
class Optimizer:
    name: str = setting("adamw", "adamw, adam or sgd")
    learning_rate: float = setting(1e-3, "peak learning rate")
    weight_decay: float = setting(1e-4, "decoupled weight decay")
    clip_norm: float = setting(10.0, "largest global gradient norm; 0 for none")
    gradient_accumulation_steps: int = setting(
        1, "steps whose gradients are added up before the weights move: large batches on small GPUs"
    )


@dataclass
class Schedule:
    name: str = setting(
        "cosine",
        "cosine or constant after the warm-up; plateau: the rate falls when the inner loss stands still, no warm-up",
    )
    warmup: float = setting(0.05, "share of all steps in which the rate rises from 0")
    final: float = setting(0.02, "last rate as a share of the peak")
    factor: float = setting(0.1, "plateau: what the rate is multiplied by")
    patience: int = setting(10, "plateau: epochs without a better inner loss before that")


@dataclass
class Sampling:
    positives: float = setting(0.0, "share of positive images in an epoch; 0: as they come")
    images: int = setting(0, "images per epoch; 0: as many as the training folds have")
    hard_negatives: float = setting(
        0.0, "share of the negatives that are drawn by an earlier experiment's false alarms"
    )
    hard_from: str = setting("", "that experiment, trained on every fold: its out-of-fold predictions are read")


@dataclass
class Experiment:
    model: Model = field(default_factory=Model, metadata={"help": "what is trained"})
    image_size: int = setting(256, "pixels of the model's square input")
    epochs: int = setting(10, "length of training")
    batch_size: int = setting(16, "images per step")
    loss: Loss = field(default_factory=Loss, metadata={"help": "a classifier's loss"})
    optimizer: Optimizer = field(default_factory=Optimizer, metadata={"help": "gradient descent"})
    schedule: Schedule = field(default_factory=Schedule, metadata={"help": "learning rate over the steps"})
    sampling: Sampling = field(default_factory=Sampling, metadata={"help": "which images an epoch shows"})
    ema: float = setting(0.99, "decay per step of the averaged weights; 0: no averages")
    keep: str = setting("last", "weights kept: last (averaged where ema > 0), or best by the inner split's loss")
    patience: int = setting(0, "stop after so many epochs without a better inner loss; 0: never")
    inner_val_fraction: float = setting(0.1, "share of the training people whose loss is looked at every epoch")
    augment: Any = setting(
        "light", "strength in data/augment.py (none, report, light, strong), or a list: [flip,{rotate: 6}]"
    )
    tta: list[str] = setting(["identity", "flip"], "test-time variants in inference/tta.py")
    max_boxes: int = setting(40, "boxes per image in a prediction table")
    min_score: float = setting(0.01, "of a box in a prediction table")
    seed: int = setting(0, "of the weights, the batches, their augmentation and the inner split")
    loaders: int = setting(
        0, "threads that make batches; 0: one on a CPU, eight beside a GPU. Their number changes no bits"
    )
    precision: str = setting(
        "auto", "float32, mixed_bfloat16, mixed_float16; auto: mixed_bfloat16 on a GPU, float32 on CPU"
    )
    xla: str = setting(
        "auto", "compile steps by XLA: auto (on a GPU; with JAX on a CPU too), on, or off, for debugging: slow with JAX"
    )
    deterministic: bool = setting(False, "the same bits on a GPU too, where its operations allow it")
    devices: int = setting(1, "devices that share every batch")
    threads: int = setting(0, "threads of one operation; 0: one per core. Another number gives other bits")


# ------------------------------------------------------------------ what a command line says


@dataclass
class Command:
    """Settings that every command takes."""

    json: bool = setting(False, "print one JSON object as the last line of stdout")
    out: str = setting("", "folder or file to write instead of the place under the repository")


@dataclass
class Data(Command):
    """Settings of every command that reads a competition."""

    data: str = setting("", "competition folder or its zip, or 'demo'; else $RSNA_DATA, else demo")
    mapping: str = setting("", "image to person: CSV (patientId, nih_patient) or RSNA's official JSON")
    clip_boxes: bool = setting(False, "cut boxes to the image instead of refusing them")
    preset: str = setting("", "smoke, quick or full; default quick on the demo, full on real data")
    workers: int = setting(0, "processes that read DICOMs; 0: one per core")

    def source(self) -> str:
        """What `data=` means: the folder or zip given, else $RSNA_DATA, else the demo."""
        return self.data or os.environ.get("RSNA_DATA", "") or "demo"

    def chosen_preset(self) -> str:
        """Raises BadInput for a preset that does not exist."""
        preset = self.preset or ("quick" if self.source() == "demo" else "full")
        if preset not in PRESETS:
            raise bad_input("preset", f"there is no preset '{preset}'", f"known: {', '.join(PRESETS)}")
        return preset


@dataclass
class Check(Data):
    pass


@dataclass
class Ingest(Data):
    image_size: int = setting(512, "side of the cached squares, in pixels")


@dataclass
class Folds(Data):
    n_folds: int = setting(5, "number of folds")
    seed: int = setting(0, "of the split")
    holdout: str = setting("", "stage1, or a file of ids: set apart, and their people removed from training")
    split: str = setting("", "report: the student report's train / val / test instead of folds")
    headers: str = setting("", "table of DICOM headers, where only the tables are there")
    audit: str = setting("", "a fold table (patientId, fold) to search for leaking people instead of making one")


@dataclass
class Eda(Data):
    headers: str = setting("", "table of DICOM headers, where only the tables are there")


@dataclass
class Job(Data):
    """The main job."""

    fold: str = setting("0", "0 .. n_folds-1, or all")
    ensemble: str = setting("default", "experiments/ensembles/NAME.yaml: which members, which starting recipe")
    n_folds: int = setting(5, "number of folds")
    folds_seed: int = setting(0, "of the folds")
    holdout: str = setting("", "stage1, or a file of ids: set apart, predicted, and their people removed from training")
    seed: int = setting(0, "of every member and of the recipe's search; the folds have their own")
    split: str = setting("", "report: the student report's train / val / test in place of the folds; it leaks people")
    executor: str = setting("local", "where runs are trained: local (a process each), or ray (a cluster)")
    ray_address: str = setting("", "executor=ray: the cluster's address; empty: one is started on this machine")
    job_threads: int = setting(0, "executor: threads per run; 0: one per core")


@dataclass
class Train(Experiment, Job):
    """One experiment: every setting of experiments/ can be overridden."""

    experiment: str = setting("", "experiments/NAME.yaml")
    nih: str = setting("", "folder of NIH ChestX-ray14, for an experiment with model.head=nih")


@dataclass
class Predict(Command):
    run: str = setting("", "a run's folder, or submissions/NAME")
    images: str = setting("", "a folder of DICOM, PNG and JPEG files, found by their content, or one file")
    skip_damaged: bool = setting(False, "predict the sound images where others are damaged")
    workers: int = setting(0, "threads that read images; 0: one per core, at most 8")


@dataclass
class Bootstrap:
    seed: int = setting(0, "of the bootstrap and of the search")
    draws: int = setting(2000, "bootstrap draws over people; 0: no interval")

    def __post_init__(self):
        if self.draws < 0:
            raise bad_input("draws", f"{self.draws} is no number of draws", "give 0 or more; 2000 is usual")


@dataclass
class Ensemble(Bootstrap, Command):
    members: Any = setting([], "detection tables, a list or {name: file}")
    classifiers: Any = setting([], "class probability tables, a list or {name: file}")
    labels: str = setting("", "label table (stage_2_train_labels.csv)")
    groups: str = setting("", "image to person")
    recipe: str = setting("", "starting recipe; default: the winners' values")
    trials: int = setting(0, "trials of the search; 0: the default budget")
    seconds: float = setting(0.0, "time for the search; 0: no limit")
    tune_on: str = setting("", "file of ids, or stage1 (its file beside the labels): fit shrink and threshold there")
    sample: str = setting("", "sample submission whose ids and order the submission takes")


@dataclass
class Apply(Command):
    recipe: str = setting("", "recipe.yaml of an ensemble")
    members: Any = setting([], "detection tables in the recipe's order, or {name: file}")
    classifiers: Any = setting([], "class probability tables, likewise")
    sample: str = setting("", "sample submission whose ids and order the output takes")


@dataclass
class Score(Bootstrap, Command):
    submission: str = setting("", "file to score")
    labels: str = setting("", "label table")
    groups: str = setting("", "image to person, for the interval")
    complete: bool = setting(False, "refuse a submission that leaves labelled images out")


@dataclass
class Validate(Command):
    submission: str = setting("", "file to validate")
    sample: str = setting("", "sample submission whose ids and order it must have")
    frame: float = setting(1024.0, "width and height of the images, which no box may leave; 0: do not compare")


@dataclass
class Leaderboard(Command):
    pass


@dataclass
class Results(Command):
    """The report's table: published figures beside ours."""

    runs: str = setting("", "folder to search for finished runs; default runs/ of the repository")


@dataclass
class Evaluate(Bootstrap, Command):
    """Everything about a finished run, or one experiment's runs over several folds."""

    run: str = setting("", "a run's folder, or the experiment's folder with fold0, fold1, ... in it")


@dataclass
class Rerun(Command):
    """A finished run, once more, compared with the first time."""

    run: str = setting("", "a finished run's folder")
