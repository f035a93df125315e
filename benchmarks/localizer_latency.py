"""Latency and peak memory of each localizer on a CPU, for batches of 1 and 16; forward pass and decoding separately.

    PYTHONPATH=src .venv/bin/python benchmarks/localizer_latency.py [runs=runs/DATASET] [preset=full] [turns=20]

It times what inference does with a batch under one variant: `passes` (the network, to NumPy) and the family's `decode`,
on radiographs of the demo at the experiment's size. Each measurement is a separate process, for its peak memory; the
memory of Python, TensorFlow and the demo's tables before the network is built is printed too.

With runs= the weights of that data set's finished runs are used (of the experiment at this preset, fold 0). A network
without a run is untrained and marked so; its decoder has more to do than a trained network's, so compare forward passes
only. Times are medians over the turns, in milliseconds an image; other work on the machine makes them unreliable.

Measured on an idle 2-core AMD EPYC: milliseconds an image and peak memory, of which 0.88 GiB before the network:

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
WARM_UP = 2  # turns that do not count: the first compiles


@dataclass
class Settings:
    experiments: list[str] = field(default_factory=lambda: [*EXPERIMENTS], metadata={"help": "names in experiments/"})
    preset: str = setting("full", "of the experiments: their image size")
    runs: str = setting("", "folder of a data set's runs, whose weights are taken")
    turns: int = setting(20, "batches that are timed")
    batch: int = setting(0, "batch size to measure in this process; 0: all, each in a process of its own")


def measure(settings: Settings) -> dict:
    """Measure the first experiment at one batch size, in this process."""
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
        (outputs,) = passes(network.predict_on_batch, images, batch)
        middle = time.perf_counter()
        decoded = family.decode(outputs)
        end = time.perf_counter()
        forward.append((middle - start) / batch * 1e3)
        decode.append((end - middle) / batch * 1e3)
        boxes += [len(image.scores) for image in decoded]
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
    """Return the peak memory of this process, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure_in_process(settings: Settings, name: str, batch: int) -> dict:
    args = [f"experiments=[{name}]", f"batch={batch}", f"preset={settings.preset}", f"turns={settings.turns}"]
    args += [f"runs={config.user_path(settings.runs)}"] if settings.runs else []
    done = subprocess.run([sys.executable, __file__, *args], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(settings: Settings) -> None:
    if settings.batch:
        print(json.dumps(measure(settings)))
        return
    known = config.experiment_names()
    print(f"{'':31s} {'pixels':>6s} {'parameters':>11s} {'batch':>5s} {'forward':>8s} {'decode':>7s} {'both':>7s} "
          f"{'slowest':>8s} {'boxes':>6s} {'peak':>9s} {'before':>9s}")  # fmt: skip
    for name in settings.experiments:
        if name not in known:
            print(f"{name:31s} is not an experiment")
            continue
        for batch in BATCHES:
            result = measure_in_process(settings, name, batch)
            both = result["forward"] + result["decode"]
            print(
                f"{name:31s} {result['size']:6d} {result['parameters']:11,d} {batch:5d} {result['forward']:8.1f} "
                f"{result['decode']:7.2f} {both:7.1f} {result['slowest']:8.1f} {result['boxes']:6.1f} "
                f"{result['peak']:5.2f} GiB {result['before']:5.2f} GiB{'' if result['trained'] else '  untrained'}",
                flush=True,
            )


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
