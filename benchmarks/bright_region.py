"""Score of brightness alone on the demo competition: the best bright-region detector, tuned on the scored images.

    PYTHONPATH=src .venv/bin/python benchmarks/bright_region.py [--images 400] [--folder DIR]

The detector: take a brightness map (absolute, relative to the lungs' mean or spread, rank among the lungs' pixels,
contrast with the surroundings, or difference from the other lung), smooth it, keep what is above a threshold inside
a fixed lung mask, and call every connected region above a minimum area a box, its mean brightness the confidence.
Everything is searched on the images that are scored: kind, smoothing, mask, threshold, smallest and largest area,
number and scale of the boxes, and the final confidence threshold (by the exact sweep). A detector of this kind that is
tuned on other images cannot do better, so that this score limits what can be reached on the demo without learning.

Measured with generator version 6, whose opacities had edges (version 7 was not measured), seed 0, the 400 training
images of a demo of 400 + 1 (141 positive), 10,717 detectors tried, on a 2-core AMD EPYC shared with other work, about
10 minutes:

    over all 400 images               0.0685   (limit 0.10)
    over the 141 positive images      0.1547   (limit 0.20)

Best kind for both: contrast with a surrounding of 12 pixels; absolute brightness reaches 0.0436 and 0.1234.
"""

import argparse
import itertools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom

from pneumonia.boxes.geometry import iou_matrix, shrink
from pneumonia.demo import competition as phantom
from pneumonia.system.progress import progress, say

SIDE = 1024
SMALL = 256  # pixels of the reduced images that the detector works on
IOU_THRESHOLDS = np.arange(8, 16) / 20
KINDS = ("absolute", "over mean", "standard score", "rank", "contrast 12", "contrast 32", "other side")
MAX_BOXES = 8  # largest regions of each image that the search may use


@dataclass(frozen=True)
class Setting:
    """One detector. `quantile` fixes the threshold: the share of all lung pixels of all images that lie below it."""

    kind: str = "absolute"
    sigma: float = 2.0  # of the smoothing, pixels of the reduced image
    mask: float = 0.1  # lung mask: where at least this share of positive images has a box; 0 = no mask
    quantile: float = 0.8
    least_area: int = 200  # pixels of the reduced image
    most_area: int = 12000
    boxes: int = 2  # the largest regions of an image
    scale: float = 1.0  # factor on width and height


def read(folder: Path, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read the first `count` images of the training table, (n, SMALL, SMALL) float32, and their true boxes (k, 4)."""
    table = pd.read_csv(folder / "stage_2_train_labels.csv")
    images, truths = [], []
    for patient_id, rows in itertools.islice(table.groupby("patientId", sort=False), count):
        frame = pydicom.encaps.get_frame(
            pydicom.dcmread(folder / "stage_2_train_images" / f"{patient_id}.dcm").PixelData, 0, number_of_frames=1
        )
        pixels = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE)
        images.append(cv2.resize(pixels, (SMALL, SMALL), interpolation=cv2.INTER_AREA).astype(np.float32))
        truths.append(rows.loc[rows.Target == 1, ["x", "y", "width", "height"]].to_numpy(float))
    return np.stack(images), truths


def box_shares(truths: list[np.ndarray]) -> np.ndarray:
    """Return (SMALL, SMALL): the share of the positive images that have a box over each pixel."""
    shares = np.zeros((SMALL, SMALL), np.float32)
    for truth in truths:
        cover = np.zeros_like(shares)
        for x, y, width, height in truth * SMALL / SIDE:
            cover[int(y) : int(y + height), int(x) : int(x + width)] = 1
        shares += cover
    return shares / max(1, sum(len(truth) > 0 for truth in truths))


def brightness_map(image: np.ndarray, kind: str, sigma: float, lungs: np.ndarray) -> np.ndarray:
    """Return the smoothed map of one kind. `lungs` (SMALL, SMALL) bool: the region that relative kinds compare with."""
    smooth = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
    inside = smooth[lungs]
    if kind == "absolute":
        return smooth
    if kind == "over mean":
        return smooth - inside.mean()
    if kind == "standard score":
        return (smooth - inside.mean()) / inside.std()
    if kind == "rank":
        return (np.searchsorted(np.sort(inside[::4]), smooth.ravel()) / len(inside[::4])).reshape(smooth.shape)
    if kind == "other side":
        return smooth - cv2.GaussianBlur(image[:, ::-1], (0, 0), max(sigma, 2.0))
    return smooth - cv2.GaussianBlur(image, (0, 0), float(kind.split()[1]))


def regions(maps: np.ndarray, images: np.ndarray, mask: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Return for each image (k, 6): x, y, width, height in full-size pixels, area, mean brightness; largest first."""
    candidates = []
    for values, image in zip(maps, images):
        bright = ((values > threshold) & mask).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
        order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:MAX_BOXES]
        if count == 1:
            candidates.append(np.zeros((0, 6)))
            continue
        total = np.bincount(labels.ravel(), weights=image.ravel(), minlength=count)
        area = stats[order, cv2.CC_STAT_AREA].astype(float)
        candidates.append(np.column_stack([stats[order, :4] * (SIDE / SMALL), area, total[order] / area]))
    return candidates


def prefix_scores(truth: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return (k,) the image's score with its first 1, 2, ..., k boxes, in descending confidence."""
    if not len(truth):
        return np.zeros(len(boxes))
    iou = iou_matrix(boxes, truth)
    hits = np.zeros(len(IOU_THRESHOLDS))
    free = np.ones((len(IOU_THRESHOLDS), len(truth)), bool)
    scores = []
    for k, row in enumerate(iou, 1):
        open_iou = np.where(free, row, -1.0)
        best = open_iou.argmax(axis=1)
        hit = open_iou.max(axis=1) > IOU_THRESHOLDS
        free[hit, best[hit]] = False
        hits += hit
        scores.append(np.mean(hits / (k + len(truth) - hits)))
    return np.array(scores)


def best_scores(truths: list[np.ndarray], candidates: list[np.ndarray], setting: Setting) -> tuple[float, float]:
    """Return the score over all images and over the positive ones, each at its best confidence threshold."""
    confidences, gains, first_of_negative = [], [], []
    for truth, boxes in zip(truths, candidates):
        keep = (boxes[:, 4] >= setting.least_area) & (boxes[:, 4] <= setting.most_area)
        chosen = boxes[keep][: setting.boxes]
        if not len(chosen):
            continue
        chosen = chosen[np.argsort(-chosen[:, 5], kind="stable")]
        if len(truth):
            scores = prefix_scores(truth, shrink(chosen[:, :4], setting.scale, setting.scale))
            confidences.append(chosen[:, 5])
            gains.append(np.diff(scores, prepend=0.0))
            first_of_negative.append(np.zeros(len(chosen)))
        else:
            confidences.append(chosen[:1, 5])
            gains.append(np.zeros(1))
            first_of_negative.append(np.ones(1))
    if not confidences:
        return 0.0, 0.0
    confidence = np.concatenate(confidences)
    order = np.argsort(-confidence, kind="stable")
    gained, negatives = np.cumsum(np.concatenate(gains)[order]), np.cumsum(np.concatenate(first_of_negative)[order])
    whole = np.append(np.diff(confidence[order]) != 0, True)  # a threshold takes equal confidences together
    positives = sum(len(truth) > 0 for truth in truths)
    return float((gained / (positives + negatives))[whole].max()), float((gained / positives)[whole].max())


class Search:
    """All detectors on one set of images; the maps of a kind and a smoothing are computed once."""

    def __init__(self, images: np.ndarray, truths: list[np.ndarray]):
        self.images, self.truths = images, truths
        self.shares = box_shares(truths)
        self._maps: dict = {}
        self._regions: dict = {}
        self.tried: dict[Setting, tuple[float, float]] = {}

    def scores(self, setting: Setting) -> tuple[float, float]:
        """Return the scores over all images and over positive images."""
        if setting not in self.tried:
            self.tried[setting] = best_scores(self.truths, self._candidates(setting), setting)
        return self.tried[setting]

    def _candidates(self, setting: Setting) -> list[np.ndarray]:
        key = (setting.kind, setting.sigma, setting.mask, setting.quantile)
        if key not in self._regions:
            maps = self._map(setting.kind, setting.sigma)
            mask = self.shares >= setting.mask
            sample = maps[::5][:, self.shares >= 0.1]
            self._regions[key] = regions(maps, self.images, mask, float(np.quantile(sample, setting.quantile)))
        return self._regions[key]

    def _map(self, kind: str, sigma: float) -> np.ndarray:
        if (kind, sigma) not in self._maps:
            lungs = self.shares >= 0.1
            maps = np.stack([brightness_map(image, kind, sigma, lungs) for image in self.images])
            while len(self._maps) > 3:  # 105 MB each for 400 images
                self._maps.pop(next(iter(self._maps)))
            self._maps[kind, sigma] = maps.astype(np.float32)
        return self._maps[kind, sigma]

    def run(self) -> tuple[tuple[float, Setting], tuple[float, Setting]]:
        """Return (score, setting) of the best detector over all images, and of the best over positive images."""
        coarse = itertools.product(KINDS, (1.0, 3.0, 6.0), (0.03, 0.12, 0.25), (0.5, 0.6, 0.7, 0.8, 0.88, 0.94))
        for kind, sigma, mask, quantile in progress(list(coarse), "bright regions: coarse search", unit="setting"):
            for least, boxes, scale in itertools.product((100, 400, 1000), (1, 2, 4), (0.9, 1.0, 1.15)):
                self.scores(Setting(kind, sigma, mask, quantile, least, 12000, boxes, scale))
        for which in (0, 1):
            self._refine(which)
        best = [max(self.tried, key=lambda setting: self.tried[setting][which]) for which in (0, 1)]
        return tuple((self.tried[setting][which], setting) for which, setting in enumerate(best))

    def _refine(self, which: int) -> None:
        """Improve the best settings of the two best kinds, one parameter at a time, until the score stops rising."""
        by_kind = {
            kind: max((s for s in self.tried if s.kind == kind), key=lambda s: self.tried[s][which]) for kind in KINDS
        }
        for start in sorted(by_kind.values(), key=lambda s: -self.tried[s][which])[:2]:
            say(f"best of the coarse search: {self.tried[start][which]:.4f} with {start}")
            setting, improved = start, True
            while improved:
                before = self.scores(setting)[which]
                for field, values in {
                    "least_area": (50, 100, 200, 300, 500, 700, 1000, 1500, 2000),
                    "most_area": (3000, 5000, 8000, 12000, 65536),
                    "boxes": (1, 2, 3, 4, 6),
                    "scale": (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.35),
                    "quantile": tuple(np.clip(setting.quantile + np.array([-0.06, -0.03, -0.015, 0.015, 0.03]), 0, 1)),
                    "mask": (0.0, 0.02, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5),
                    "sigma": (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0),
                }.items():
                    options = [setting, *(replace(setting, **{field: value}) for value in values)]
                    setting = max(options, key=lambda option: self.scores(option)[which])
                improved = self.scores(setting)[which] > before + 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="a competition folder; by default a demo is made for the run")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or phantom.generate(Path(scratch) / "demo", arguments.images, 1)
        images, truths = read(folder, arguments.images)
    search = Search(images, truths)
    results = search.run()
    positives = sum(len(truth) > 0 for truth in truths)
    counts = (f"all {len(truths)} images", f"the {positives} positive images alone")
    for (score, setting), over, limit in zip(results, counts, (0.10, 0.20)):
        print(f"best over {over}: {score:.4f} (limit {limit:.2f}) with {setting}")
    for kind in KINDS:
        tried = [scores for setting, scores in search.tried.items() if setting.kind == kind]
        print(f"  {kind:15s} all {max(s[0] for s in tried):.4f}  positives {max(s[1] for s in tried):.4f}")
    print(f"{len(search.tried)} detectors tried")
    every = np.concatenate([truth for truth in truths if len(truth)])
    print("boxes: 5, 25, 50, 75, 95 % of the demo (and of the real 9,555)")
    for name, values, real in (
        ("width", every[:, 2], (124, 177, 217, 259, 317)),
        ("height", every[:, 3], (121, 203, 298, 438, 623)),
        ("centre y", every[:, 1] + every[:, 3] / 2, (342, 455, 531, 609, 720)),
        ("width/height", every[:, 2] / every[:, 3], (0.40, 0.53, 0.69, 0.96, 1.48)),
    ):
        print(f"  {name:13s}", np.round(np.percentile(values, (5, 25, 50, 75, 95)), 2).tolist(), real)


if __name__ == "__main__":
    main()
