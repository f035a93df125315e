"""Latency and peak memory of each localizer on CPU, an image at a time and sixteen, forward pass and decoding apart.

    PYTHONPATH=src .venv/bin/python benchmarks/localizer_latency.py [runs=runs/DATASET] [preset=full] [turns=20]

What is timed is what inference does with a batch under one variant: `passes` (the network, to numpy) and the family's
`decode`, on radiographs of the demo at the experiment's own size. Every line is a process of its own, so that its peak
memory is its own; what Python, TensorFlow and the demo's tables take before the network is built is given beside it.

With runs= the weights of that data set's finished runs are used (of the experiment at this preset, fold 0); a network
without a run is untrained, marked so, and its decoder has more to do than a trained one's: compare forward passes then.
Times are medians over the turns, in milliseconds an image; with other work on the machine they are no more than a hint.

Measured on an idle 2-core AMD EPYC; milliseconds an image and peak memory, of which 0.88 GiB before the network:

    weights                          pixels  batch of 1              batch of 16
    mobilenet_unet   20 epochs, demo    224   8.8 + 0.5   0.95 GiB     5.0 + 0.3   1.11 GiB     (network + decoding)
    yolov8_xs        20 epochs, demo    256  11.9 + 1.6   1.00 GiB     5.3 + 0.5   1.07 GiB
    yolov8_xs        untrained          512  27.3 + 6.0   1.01 GiB    20.7 + 4.7   1.30 GiB
    yolov8_s         untrained          512  69.1 + 5.4   1.08 GiB    60.3 + 5.1   1.57 GiB
    segmentation_unet untrained         512   112 + 3.6   1.12 GiB     110 + 3.7   2.79 GiB
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

from pneumonia import config, schema
from pneumonia.schema import setting
from pneumonia.system.switches import set_switches

EXPERIMENTS = (
    *("report/mobilenetv2_localization", "mobilenet_unet", "segmentation_unet"),
    *("yolov8_xs", "yolov8_s", "yolov8_m"),
)
BATCHES = (1, 16)
WARM_UP = 2  # turns that are not counted: the first compiles


@dataclass
class Settings:
    experiments: list[str] = field(default_factory=lambda: [*EXPERIMENTS], metadata={"help": "names in experiments/"})
    preset: str = setting("full", "of the experiments: their image size")
    runs: str = setting("", "folder of a data set's runs, whose weights are taken")
    turns: int = setting(20, "batches that are timed")
    batch: int = setting(0, "of the one measurement that a process makes; 0: all, each in a process")


def measure(settings: Settings) -> dict:
    """The first experiment at one batch size, in this process."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    set_switches()
    import numpy as np

    from pneumonia.data.competition import resolve
    from pneumonia.data.ingest import ingest
    from pneumonia.data.samples import CachedImages
    from pneumonia.inference.predict import passes
    from pneumonia.models.registry import family as family_of
    from pneumonia.runs import checkpoint
    from pneumonia.runs.run import Run

    name, batch = settings.experiments[0], settings.batch
    experiment = config.read_experiment(name, settings.preset)
    cache = ingest(resolve(schema.Job(data="demo", preset="smoke")), experiment.image_size)
    radiographs = CachedImages(cache, cache.index["patientId"].tolist(), experiment.image_size)
    rows = np.arange(batch * (settings.turns + WARM_UP)) % len(radiographs)
    before = peak()
    family = family_of(experiment.model, experiment.image_size, experiment.loss, pretrained=False)
    network = family.build()
    label = name if settings.preset == "full" else f"{name}-{settings.preset}"
    run = Run(config.user_path(settings.runs) / label / "fold0")
    trained = bool(settings.runs) and run.is_done
    if trained:
        checkpoint.read_weights(run.weights, network.variables)
    forward, decode, boxes = [], [], []
    for turn in range(settings.turns + WARM_UP):
        images = np.stack([radiographs[row] for row in rows[turn * batch : (turn + 1) * batch]])[..., None]
        start = time.perf_counter()
        (outputs,) = passes(network, images, batch)
        middle = time.perf_counter()
        decoded = family.decode(outputs)
        end = time.perf_counter()
        forward.append((middle - start) / batch * 1e3)
        decode.append((end - middle) / batch * 1e3)
        boxes += [len(each.scores) for each in decoded]
    return {
        "size": experiment.image_size,
        "parameters": network.count_params(),
        "trained": trained,
        "forward": statistics.median(forward[WARM_UP:]),
        "decode": statistics.median(decode[WARM_UP:]),
        "slowest": max(a + b for a, b in zip(forward[WARM_UP:], decode[WARM_UP:])),
        "boxes": statistics.mean(boxes),
        "before": before,
        "peak": peak(),
    }


def peak() -> float:
    """GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_process(settings: Settings, name: str, batch: int) -> dict:
    words = [f"experiments=[{name}]", f"batch={batch}", f"preset={settings.preset}", f"turns={settings.turns}"]
    words += [f"runs={config.user_path(settings.runs)}"] if settings.runs else []
    made = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(made.stdout.splitlines()[-1])


def main(settings: Settings) -> None:
    if settings.batch:
        print(json.dumps(measure(settings)))
        return
    known = config.experiment_names()
    print(f"{'':31s} {'pixels':>6s} {'parameters':>11s} {'batch':>5s} {'forward':>8s} {'decode':>7s} {'both':>7s} "
          f"{'slowest':>8s} {'boxes':>6s} {'peak':>9s} {'before':>9s}")  # fmt: skip
    for name in settings.experiments:
        if name not in known:
            print(f"{name:31s} is no experiment here")
            continue
        for batch in BATCHES:
            found = in_process(settings, name, batch)
            both = found["forward"] + found["decode"]
            print(
                f"{name:31s} {found['size']:6d} {found['parameters']:11,d} {batch:5d} {found['forward']:8.1f} "
                f"{found['decode']:7.2f} {both:7.1f} {found['slowest']:8.1f} {found['boxes']:6.1f} "
                f"{found['peak']:5.2f} GiB {found['before']:5.2f} GiB{'' if found['trained'] else '  untrained'}",
                flush=True,
            )


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
