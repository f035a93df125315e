"""Overfit each localizer to 40 positive images: the competition's score on them shows that no step loses accuracy.

    PYTHONPATH=src .venv/bin/python benchmarks/fit_forty.py data=DIR [experiments=[yolov8_xs]]

An error of a pixel, or a lost box, in DICOM reading, targets, losses, decoder or the conversion back to original pixels
would keep the score below 1. Each experiment (preset quick) is trained without augmentation on the first 40 positive
images for `epochs` epochs and scored on the same 40 at their best threshold, without test-time variants.

Measured on 40 real positive radiographs of the competition (data=, not in this repository), 2-core AMD EPYC:

    yolov8_xs          256 px,  60 epochs    0.979    2 minutes
    yolov8_s           256 px,  60 epochs    0.972    18 minutes, with much other work
    yolov8_m           192 px,  50 epochs    0.900    6 minutes (image_size=192 epochs=50)
    mobilenet_unet     224 px, 100 epochs    0.922    3.5 minutes; its masks have half the image's side
    segmentation_unet  128 px, 150 epochs    1.000    8 minutes, with other work
    retinanet_lite0    256 px,  60 epochs    1.000    17 minutes without AVX-512, with other work
"""

import dataclasses
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from pneumonia import config, schema
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.data.samples import Samples, cached_images, samples_of
from pneumonia.inference.predict import predict
from pneumonia.metrics.iou_map import Truth, sweep
from pneumonia.models.registry import family as family_of
from pneumonia.schema import setting
from pneumonia.system.switches import set_switches
from pneumonia.training import loop

LOCALIZERS = {  # pixels and epochs
    "yolov8_xs": (256, 60),
    "yolov8_s": (256, 60),
    "yolov8_m": (256, 60),
    "mobilenet_unet": (224, 100),
    "segmentation_unet": (128, 150),
    "unet_lite0": (256, 60),
    "yolov8_lite0": (256, 60),
    "retinanet_lite0": (256, 60),
}


@dataclass
class Settings:
    data: str = setting("demo", "competition folder")
    experiments: list[str] = field(default_factory=lambda: [*LOCALIZERS], metadata={"help": "which"})
    images: int = setting(40, "positive images")
    epochs: int = setting(0, "of every training; 0: those of LOCALIZERS")
    image_size: int = setting(0, "pixels; 0: those of LOCALIZERS")
    batch_size: int = setting(8, "images per step")
    learning_rate: float = setting(1e-3, "peak learning rate")
    ema: float = setting(0.98, "decay per step of the averaged weights")
    seed: int = setting(0, "of weights and order")


def main(settings: Settings) -> None:
    set_switches()
    for name in settings.experiments:
        size, epochs = LOCALIZERS.get(name, (256, 60))
        size, epochs = settings.image_size or size, settings.epochs or epochs
        changes = {"image_size": size, "epochs": epochs, "batch_size": settings.batch_size}
        changes |= {"optimizer": {"learning_rate": settings.learning_rate}, "ema": settings.ema, "seed": settings.seed}
        changes |= {"augment": "none", "tta": ["identity"], "inner_val_fraction": 0.0, "sampling": {"positives": 0.0}}
        job = schema.Job(data=settings.data)
        data = prepare(job, resolve(job), [size])
        study = data.study[data.study["target"] == 1].head(settings.images)
        started = time.monotonic()
        samples = samples_of(study, data.cache, size)
        experiment = config.read_experiment(name, "quick", changes)
        fitted = family_of(experiment.model, size, pretrained=False).fit_to_boxes(samples.boxes)
        experiment = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **fitted))
        score, threshold = overfit(experiment, samples, study, data.cache)
        print(
            f"{name:18s} {score:.3f} at confidence {threshold:.2f}: {len(samples)} positive images of "
            f"{data.name}, {size} px, {epochs} epochs, {time.monotonic() - started:.0f} s",
            flush=True,
        )


def overfit(experiment: schema.Experiment, samples: Samples, study, cache) -> tuple[float, float]:
    """Train on the samples; return (score, threshold) on the same images."""
    family = family_of(experiment.model, experiment.image_size)
    with tempfile.TemporaryDirectory() as scratch:
        network = loop.train(experiment, family, samples, None, Path(scratch), experiment.model.name)
    ids = samples.ids.tolist()
    images = cached_images(cache, ids, experiment.image_size)
    detections = predict(network.predict_on_batch, family, images, experiment, "training images")
    threshold, score = sweep(Truth.from_lists(ids, list(study["boxes"])), detections).best()
    return float(score), float(threshold)


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
