"""Figures of the exploration page, each a data URI."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from pneumonia.boxes import geometry
from pneumonia.data.ages import OLDEST
from pneumonia.data.labels import CLASSES
from pneumonia.data.samples import CachedImages, original_sizes
from pneumonia.reports.figures import picture, png

NAMES, COLOURS = CLASSES.display, CLASSES.colour
TITLES = {"sex": "sex", "view": "view position"}
EXAMPLES = 4  # of each class
MEAN_OF = 200  # images per class in the mean image


def classes(study: pd.DataFrame) -> str:
    """Plot the number of images per class and per target."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 2.8), width_ratios=[3, 2])
    counts = study["class"].value_counts().reindex(CLASSES.names)
    axes[0].barh([NAMES[name] for name in CLASSES.names], counts, color=[COLOURS[name] for name in CLASSES.names])
    axes[0].bar_label(axes[0].containers[0], fmt="{:,.0f}", padding=3)
    axes[0].set(title="images per class", xlim=(0, counts.max() * 1.2))
    targets = study["target"].value_counts().reindex([0, 1], fill_value=0)
    axes[1].barh(["0", "1"], targets, color=["#8a96a3", COLOURS[CLASSES.positive]])
    axes[1].bar_label(axes[1].containers[0], fmt="{:,.0f}", padding=3)
    axes[1].set(title="images per target", xlim=(0, targets.max() * 1.25))
    figure.tight_layout()
    return png(figure)


def people(study: pd.DataFrame, known: Sequence[str]) -> str:
    """Plot sex and view within each class, and a histogram of age per class (without ages above OLDEST, errors).

    Args:
        known: those of the columns sex, view and age to plot.
    """
    figure, axes = plt.subplots(1, len(known), figsize=(1 + 4 * len(known), 3.2), squeeze=False)
    for position, (axis, column) in enumerate(zip(axes[0], known)):
        if column == "age":
            plot_ages(axis, study)
            continue
        shares = pd.crosstab(study["class"], study[column], normalize="index").reindex(CLASSES.names)
        left = np.zeros(len(shares))
        for value, colour in zip(shares.columns, ("#6f8fb0", "#c9a27a", "#999999")):
            axis.barh([NAMES[name] for name in CLASSES.names], shares[value], left=left, label=value, color=colour)
            left += shares[value].to_numpy()
        axis.set(title=TITLES[column], xlim=(0, 1))
        axis.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, -0.35))
        if position > 0:
            axis.set_yticks([])
    figure.tight_layout()
    return png(figure)


def plot_ages(axis: Axes, study: pd.DataFrame) -> None:
    ages = study[study["age"] <= OLDEST]
    for name in CLASSES.names:
        values = ages.loc[ages["class"] == name, "age"]
        axis.hist(values, bins=range(0, 111, 5), histtype="step", label=NAMES[name], color=COLOURS[name], linewidth=1.6)
    axis.set(title="age", xlabel="years", ylabel="images")
    axis.legend(frameon=False, fontsize=8)


def boxes(study: pd.DataFrame) -> str:
    """Plot box centres, widths and heights, and aspect ratios, in pixels of the original images."""
    xywh = np.concatenate([np.empty((0, 4)), *study["boxes"]])
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6))
    if not len(xywh):
        return png(figure)
    centres = xywh[:, :2] + xywh[:, 2:] / 2
    side = max(1024.0, (xywh[:, :2] + xywh[:, 2:]).max())
    axes[0].hist2d(centres[:, 0], centres[:, 1], bins=48, range=[[0, side], [0, side]], cmap="magma")
    axes[0].set(title="box centres", aspect="equal", xlim=(0, side), ylim=(side, 0))
    axes[1].hist(xywh[:, 2], bins=40, histtype="step", label="width", color="#1f6feb")
    axes[1].hist(xywh[:, 3], bins=40, histtype="step", label="height", color="#d2691e")
    axes[1].set(title="sizes", xlabel="pixels", ylabel="boxes")
    axes[1].legend(frameon=False)
    axes[2].hist(xywh[:, 2] / xywh[:, 3], bins=np.linspace(0, 3, 41), color="#6f8fb0")
    axes[2].set(title="width / height", ylabel="boxes")
    figure.tight_layout()
    return png(figure)


def mean_images(study: pd.DataFrame, cache) -> str:
    """Plot the mean of at most MEAN_OF images of each class."""
    figure, axes = plt.subplots(1, len(CLASSES), figsize=(10, 3.6))
    for axis, name in zip(axes, CLASSES.names):
        ids = study.loc[(study["class"] == name) & study["patientId"].isin(cache.rows), "patientId"][:MEAN_OF]
        images = CachedImages(cache, list(ids), cache.size)
        total = sum((images[row].astype(np.float64) for row in range(len(images))), np.zeros((cache.size, cache.size)))
        axis.imshow(total / max(len(images), 1), cmap="gray", vmin=0, vmax=255)
        axis.set(title=f"{NAMES[name]}\n({len(images)} images)")
        axis.axis("off")
    figure.tight_layout()
    return png(figure)


def examples(study: pd.DataFrame, cache) -> list[tuple[str, str]]:
    """Return (data URI of the image with boxes, caption) of the first images of each class."""
    pictures = []
    for name in CLASSES.names:
        examples_of_class = study[(study["class"] == name) & study["patientId"].isin(cache.rows)][:EXAMPLES]
        ids = list(examples_of_class["patientId"])
        images = CachedImages(cache, ids, cache.size)
        for k, (row, (rows, columns)) in enumerate(zip(examples_of_class.itertuples(), original_sizes(cache, ids))):
            xywh = geometry.scale(row.boxes, cache.size / columns, cache.size / rows)
            age = "age unknown" if np.isnan(row.age) else f"{row.age:.0f}"
            caption = f"{NAMES[name]} · {row.sex or '?'}, {age}, {row.view or '?'} · {row.patientId[:8]}"
            pictures.append((picture(images[k], xywh, np.empty((0, 4)), []), caption))
    return pictures
