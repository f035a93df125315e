"""Time of prediction under several test-time variants over that under one: MobileNetV2 and YOLOv8-xs at 256 px.

    PYTHONPATH=src .venv/bin/python benchmarks/tta.py [images]

All of `predict` is timed, from the cached squares to the merged table: resampling, passes, decoding, merging. The
networks are untrained (a pass takes the same time; the localizer's decoder has more to suppress than a trained one's).
All are timed in turns and their medians compared, so that other work on the machine slows all alike.

Measured on a 2-core AMD EPYC that also did other work. 64 images in batches of 16, every pass full: two variants take
1.93 to 1.97 times (MobileNetV2) and 2.01 to 2.02 times (YOLOv8-xs) as long as one, five 4.87 to 4.96 and 5.02 to 5.06
times. 72 images, where the last pass of one variant is half empty but several variants share theirs: 1.83 and 1.85,
4.74 and 4.76. A single image, whose variants fit into one pass: five take 1.01 and 1.05 times as long.
"""

import statistics
import sys
import time

import keras
import numpy as np

from pneumonia import schema
from pneumonia.data.samples import Images
from pneumonia.inference.predict import predict
from pneumonia.models.registry import family as family_of

SIZE, BATCH, TURNS = 256, 16, 3
MODELS = {
    "mobilenetv2, alpha 0.5": schema.model_settings(name="mobilenetv2", head="classes", alpha=0.5),
    "yolov8 xs": schema.model_settings(name="yolov8", size="xs"),
}
VARIANTS = ["identity", "flip", "scale_0.875", "flip+scale_1.125", "shift_16_-8"]
COUNTS = (1, 2, len(VARIANTS))


def seconds(network, family, images: np.ndarray, tta: list[str]) -> float:
    squares = Images([str(row) for row in range(len(images))], images, np.full((len(images), 2), 1024))
    experiment = schema.Experiment(tta=tta, batch_size=BATCH)
    start = time.perf_counter()
    predict(network.predict_on_batch, family, squares, experiment, "")
    return time.perf_counter() - start


def compare(name: str, images: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    family = family_of(MODELS[name], SIZE)
    network = family.build()
    seconds(network, family, images[:1], VARIANTS)  # compiles
    times = {count: [] for count in COUNTS}
    for _ in range(TURNS):
        for count in COUNTS:
            times[count].append(seconds(network, family, images, VARIANTS[:count]))
    one = statistics.median(times[1])
    print(f"{name}, {len(images)} images: one variant {one / len(images) * 1e3:.1f} ms an image")
    for count in COUNTS[1:]:
        print(f"  {count} variants take {statistics.median(times[count]) / one:.2f} times as long")


def main(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE)).astype(np.uint8)
    for name in MODELS:
        compare(name, images)
        compare(name, images[:1])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
