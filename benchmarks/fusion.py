"""Weighted box fusion of 25 models x 20 boxes: ours against ensemble-boxes 1.0.9, on one core, in one run.

    PYTHONPATH=src .venv/bin/python benchmarks/fusion.py [images]

Measured on 2 shared cores of an AMD EPYC (Python 3.11), 2000 images, three runs: ensemble-boxes 10.6 to 11.2 ms an
image, ours 0.138 to 0.154 ms on one core: 73 to 77 times as fast; 26,684 images in 4 s against 5 min. The largest
difference is 7e-9 in confidence and 2e-4 pixels. Two threads took 0.26 s for 3,000 images where one took 0.45 s, with
the second core free; with it busy they were not faster.
"""

import dataclasses
import sys
import time
import warnings

import ensemble_boxes
import numpy as np

from pneumonia.boxes.fusion import fuse
from pneumonia.boxes.geometry import to_corners
from pneumonia.boxes.predictions import Detections
from pneumonia.boxes.same_model import SAME_MODEL

MODELS, BOXES = 25, 20
THEIR_IMAGES = 40  # that ensemble-boxes is timed on: all would take minutes


def members(images: int, seed: int = 0) -> list[Detections]:
    """Make boxes of 25 models: around three places per image, one in four anywhere; scores mostly low, as real ones."""
    generator = np.random.default_rng(seed)
    ids = tuple(map(str, range(images)))
    places = generator.uniform(100, 500, size=(images, 3, 2))  # all inside the frame: ensemble-boxes would clip them
    tables = []
    for _ in range(MODELS):
        chosen = places[np.arange(images)[:, None], generator.integers(0, 3, (images, BOXES))]
        anywhere = generator.random((images, BOXES, 1)) < 0.25
        corner = np.where(
            anywhere, generator.uniform(0, 700, chosen.shape), chosen + generator.normal(0, 40, chosen.shape)
        )
        size = generator.uniform(80, 320, chosen.shape)
        boxes = np.concatenate([np.maximum(corner, 0), size], axis=2).reshape(-1, 4)
        scores = generator.beta(0.5, 3, images * BOXES)
        tables.append(Detections(ids, np.arange(images + 1) * BOXES, boxes, scores))
    return tables


def their_boxes(tables: list[Detections], image: int):
    parts = [table.image(image) for table in tables]
    return [to_corners(b) / 1024 for b, _ in parts], [s for _, s in parts], [np.zeros(len(s)) for _, s in parts]


def main(images: int) -> None:
    tables = members(images)
    fusion = dataclasses.replace(SAME_MODEL, iou=0.55)
    fuse([table.rows(np.arange(2)) for table in tables], fusion)  # compiles, or loads what was compiled
    inputs = [their_boxes(tables, image) for image in range(min(THEIR_IMAGES, images))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        theirs = [ensemble_boxes.weighted_boxes_fusion(*arrays, iou_thr=0.55) for arrays in inputs]
        their_time = (time.perf_counter() - start) / len(inputs)
    start = time.perf_counter()
    ours = fuse(tables, fusion, threads=1)
    our_time = (time.perf_counter() - start) / images
    start = time.perf_counter()
    fuse(tables, fusion)
    all_cores = (time.perf_counter() - start) / images
    pixels, confidence = 0.0, 0.0
    for image, (boxes, scores, _) in enumerate(theirs):
        our_boxes, our_scores = ours.image(image)
        assert len(our_scores) == len(scores), "another number of boxes"
        # low scores are so close that float32 orders them differently: each box is compared with the nearest
        distances = np.abs(to_corners(our_boxes)[:, None] - boxes[None] * 1024).max(axis=2)
        nearest = distances.argmin(axis=0)
        confidence = max(confidence, np.abs(our_scores[nearest] - scores).max())
        pixels = max(pixels, distances.min(axis=0).max())
    print(f"{images} images x {MODELS} models x {BOXES} boxes")
    print(f"ensemble-boxes      {their_time * 1e3:8.3f} ms an image ({len(inputs)} images timed)")
    print(f"ours, one core      {our_time * 1e3:8.3f} ms an image: {their_time / our_time:.0f} times as fast")
    print(f"ours, all cores     {all_cores * 1e3:8.3f} ms an image: {their_time / all_cores:.0f} times as fast")
    print(f"26,684 images: {our_time * 26684:.1f} s on one core, ensemble-boxes {their_time * 26684 / 60:.1f} min")
    print(f"largest difference: confidence {confidence:.1e}, {pixels:.1e} pixels")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
