"""A synthetic chest radiograph without disease: a projected body, built from a few smooth fields.

Everything is drawn on a GRID x GRID plane in units of brightness (0 = air around the body, 1 = densest bone) and
enlarged to 1024 x 1024 at the end, which takes a quarter of the pixels. Body coordinates are `u`,
the signed distance from the midline (negative = the person's right = the image's left), and `v`, the distance
from the top, both in fractions of the image side.
"""

from functools import lru_cache

import cv2
import numpy as np

from pneumonia.demo.person import Person, Pose

SIDE = 1024  # pixels of the radiograph, as in the competition
GRID = 512  # pixels on which anatomy is drawn
NOISE_SIDE = 1536  # side of the cached noise fields, from which each radiograph takes random crops

RIGHT, LEFT = -1, 1  # the person's sides, as signs of u


@lru_cache(maxsize=1)
def _plane() -> tuple[np.ndarray, np.ndarray]:
    """(1, GRID) x and (GRID, 1) y of the pixel centres, fractions of the side, origin in the middle."""
    ticks = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID - 0.5
    return ticks[None, :], ticks[:, None]


@lru_cache(maxsize=8)
def noise_field(wavelength: float) -> np.ndarray:
    """(NOISE_SIDE, NOISE_SIDE) float32 noise with zero mean, unit variance and features of about `wavelength` pixels.

    A band of one to one and a half octaves: the difference of white noise blurred at two scales. Wavelengths below 2
    give noise that is only slightly correlated. The field has a fixed seed, so it is the same in every process.
    """
    rng = np.random.default_rng([2018, int(wavelength * 10), 0])
    small = max(1, int(wavelength // 16))  # long waves are computed small and enlarged
    field = rng.standard_normal((NOISE_SIDE // small, NOISE_SIDE // small), dtype=np.float32)
    if wavelength < 2:
        field = cv2.GaussianBlur(field, (0, 0), 0.6)
    else:
        sigma = wavelength / small / 5.0
        field = cv2.GaussianBlur(field, (0, 0), sigma) - cv2.GaussianBlur(field, (0, 0), 2.0 * sigma)
    if small > 1:
        field = cv2.resize(field, (NOISE_SIDE, NOISE_SIDE), interpolation=cv2.INTER_CUBIC)
    field -= field.mean()
    field /= field.std()
    field.flags.writeable = False
    return field


def noise_crop(rng: np.random.Generator, wavelength: float, height: int, width: int) -> np.ndarray:
    """A (height, width) crop of the noise field at a random position, randomly mirrored."""
    y, x = rng.integers(NOISE_SIDE - height), rng.integers(NOISE_SIDE - width)
    crop = noise_field(wavelength)[y : y + height, x : x + width]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return crop[::-1] if rng.random() < 0.5 else crop


def step(distance: np.ndarray, softness: float) -> np.ndarray:
    """A smooth step: 0 to 1 as `distance` rises from -softness to softness."""
    t = np.clip(distance * (0.5 / softness) + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


class Thorax:
    """The fields of one person in one pose. Arrays are (GRID, GRID) float32.

    Attributes:
        u, v: body coordinates of every pixel.
        lung: 1 inside the lung fields (heart and diaphragm cut out), 0 outside, soft edges.
        heart: 1 inside heart and great vessels.
        bases: v of the diaphragm's domes, by side.
    """

    def __init__(self, person: Person, pose: Pose):
        self.person, self.pose = person, pose
        x, y = _plane()
        cos, sin = np.cos(pose.rotation) / pose.zoom, np.sin(pose.rotation) / pose.zoom
        self._turned_back = np.linalg.inv(np.array([[cos, sin], [-sin, cos]])).T
        x, y = x - np.float32(pose.shift[0]), y - np.float32(pose.shift[1])
        self.u = (x * np.float32(cos) + y * np.float32(sin)).astype(np.float32)
        self.v = (y * np.float32(cos) - x * np.float32(sin) + np.float32(0.5)).astype(np.float32)
        right = person.base + pose.inspiration
        self.bases = {RIGHT: right, LEFT: right + pose.left_dome}
        self.middle = self.u - np.float32(pose.turn)  # distance from the mediastinum's midline
        self.across = np.abs(self.u)
        self.heart = self._heart()
        self.inner, self.lung = self._lung()

    def to_pixels(self, u, v, side: int = GRID) -> np.ndarray:
        """Body coordinates to pixels of an image `side` wide, (n, 2) x y. The inverse of the map behind u and v."""
        body = np.stack([np.ravel(u), np.ravel(v) - 0.5], axis=1)
        return (body @ self._turned_back + np.asarray(self.pose.shift) + 0.5) * side

    def lateral(self, v):
        """|u| of the lung's outer edge at height v."""
        person = self.person
        down = np.clip((v - person.apex) / (0.62 * (person.base - person.apex)), 0.0, 1.0)
        return 0.10 + (person.thorax - 0.10) * np.sqrt(1.0 - (1.0 - down) ** 2)

    def _lung(self) -> tuple[np.ndarray, np.ndarray]:
        person = self.person
        edge = self.lateral(self.v) - self.across
        medial = np.abs(self.middle) - (0.048 + 0.02 * step(self.v - 0.30, 0.15))
        base = np.where(self.u < 0, np.float32(self.bases[RIGHT]), np.float32(self.bases[LEFT]))
        off_dome = (self.across - 0.15) / (person.thorax - 0.15)
        dome = base + np.where(off_dome > 0, 0.10, 0.015) * off_dome * off_dome - self.v
        inner = np.minimum(np.minimum(edge, medial), dome)
        self.below = step(-dome, 0.012)  # under the diaphragm
        lung = step(inner, 0.010) * step(self.v - person.apex, 0.02)
        return inner, (lung * (1.0 - 0.93 * self.heart)).astype(np.float32)

    def _heart(self) -> np.ndarray:
        person, pose = self.person, self.pose
        width = person.heart * person.thorax * pose.heart_zoom
        floor = self.bases[LEFT] - 0.005
        height = 0.165 + 0.25 * (width - 0.15)
        # ventricles: an ellipse leaning to the person's left; atrium: a flatter one on the right
        a, b = self.middle - 0.36 * width, self.v - (floor - 0.55 * height)
        lean = 0.45
        a, b = a * np.cos(lean) + b * np.sin(lean), b * np.cos(lean) - a * np.sin(lean)
        ventricles = 1.0 - (a / width) ** 2 - (b / (0.72 * height)) ** 2
        c, d = self.middle + 0.18 * width, self.v - (floor - 0.62 * height)
        atrium = 1.0 - (c / (0.52 * width)) ** 2 - (d / (0.80 * height)) ** 2
        e, f = self.middle - 0.045, self.v - (person.apex + 0.165)
        knob = 1.0 - (e / person.aorta) ** 2 - (f / (1.25 * person.aorta)) ** 2
        hilum = 1.0 - ((np.abs(self.middle) - 0.055) / 0.035) ** 2 - ((self.v - person.apex - 0.29) / 0.055) ** 2
        trunk = 0.055 + 0.05 * step(self.v - person.apex - 0.20, 0.10) - self.middle  # of the pulmonary artery
        trunk = np.minimum(np.minimum(trunk, self.middle), self.v - person.apex - 0.12)
        solid = np.maximum(step(np.maximum(ventricles, atrium), 0.16), 0.9 * step(knob, 0.30))
        solid = np.maximum(solid, 0.85 * step(trunk, 0.012))
        return np.maximum(solid, 0.42 * step(hilum, 0.8)).astype(np.float32)

    def vessels(self, rng: np.random.Generator) -> np.ndarray:
        """Draw pulmonary vessels: branching lines from each hilum, thinner and fainter outwards. About 0 to 1."""
        tree = np.random.default_rng(self.person.tree)
        canvas = np.zeros((GRID, GRID), np.uint8)
        steps = np.linspace(0.0, 1.0, 10)
        for side in (RIGHT, LEFT):
            angles = np.linspace(-1.35, 1.45, 13) + tree.normal(0, 0.09, 13)
            lengths = tree.uniform(0.16, 0.30, 13) * (1.0 + 0.15 * np.abs(angles))
            bends = tree.normal(0, 0.5, 13)
            for angle, length, bend in zip(angles, lengths, bends):
                heading = angle + bend * steps
                u = 0.06 + np.cumsum(np.cos(heading)) * length / 10
                v = self.person.apex + 0.29 + np.cumsum(np.sin(heading)) * length / 10
                self._line(canvas, side * u[:6], v[:6], 3, 190)
                self._line(canvas, side * u[5:], v[5:], 2, 150)
                for start, fork in zip(tree.integers(2, 9, 4), tree.uniform(0.35, 0.8, 4) * tree.choice([-1, 1], 4)):
                    twig = heading[start] + fork + 0.4 * fork * steps[:6]
                    reach = tree.uniform(0.05, 0.13)
                    self._line(
                        canvas,
                        side * (u[start] + np.cumsum(np.cos(twig)) * reach / 6),
                        v[start] + np.cumsum(np.sin(twig)) * reach / 6,
                        1,
                        140,
                    )
        return cv2.GaussianBlur(canvas, (0, 0), 0.9).astype(np.float32) / 255.0

    def _line(self, canvas: np.ndarray, u, v, thickness: int, value: int) -> None:
        points = np.round(self.to_pixels(u, v) * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, value, thickness, cv2.LINE_AA, 4)

    def ribs(self) -> np.ndarray:
        """Back and front ribs in projection: two families of arcs, brighter at their cortical edges. About 0 to 1."""
        person, across = self.person, self.across
        cage = step(self.lateral(self.v) + 0.016 - across, 0.006)
        sway = 0.10 * np.sin(9.0 * self.u + person.slope * 7.0) + 0.10 * np.sin(17.0 * self.v + 60.0 * person.pitch)
        fall = person.slope * across * across - 0.16 * across
        back = (self.v - person.apex - fall) / person.pitch + sway
        front = (self.v - person.apex - 0.06 - 0.42 * (person.thorax - across)) / (1.18 * person.pitch) - sway
        front_reach = step(across - 0.17, 0.05) * step(self.v - person.apex - 0.06, 0.03)
        back_reach = step(across - 0.03, 0.02)
        fade = step(person.base + 0.10 - self.v, 0.10)
        return cage * fade * (_rib_profile(back) * back_reach + 0.42 * _rib_profile(front) * front_reach)

    def chest_wall(self) -> np.ndarray:
        """The rib cage along the beam: a bright line at the lung's outer edge."""
        off = (self.lateral(self.v) + 0.008 - self.across) / 0.010
        return np.exp(-off * off) * step(self.v - self.person.apex - 0.03, 0.03) * (1.0 - self.below)

    def skeleton(self, rng: np.random.Generator) -> np.ndarray:
        """Draw clavicles, scapulae and upper arms as lines and plates, 0 to 1."""
        person = self.person
        canvas = np.zeros((GRID, GRID), np.uint8)
        arms_out = rng.uniform(-0.02, 0.03)
        for side in (RIGHT, LEFT):
            u = np.linspace(0.035, 0.36, 12)
            s = (u - 0.035) / 0.325
            v = person.apex + 0.075 - person.clavicle * s - 0.02 * np.sin(2 * np.pi * s) + rng.normal(0, 0.004)
            self._line(canvas, side * u, v, 13, 130)
            self._line(canvas, side * u, v - 0.0105, 2, 165)
            self._line(canvas, side * u, v + 0.0105, 2, 165)
            rim = np.linspace(0, 1, 10)  # the scapula's inner border
            u = person.thorax - 0.05 + 0.05 * np.sin(np.pi * rim) + 0.06 * rim + arms_out
            self._line(canvas, side * u, person.apex + 0.06 + 0.30 * rim, 3, 75)
            self._line(canvas, side * (u + 0.05 * (1 - rim)), person.apex + 0.05 + 0.30 * rim, 2, 45)
            head = self.to_pixels(side * (person.shoulder - 0.075 + arms_out), person.apex + 0.065)[0]
            elbow = self.to_pixels(side * (person.shoulder + 2 * arms_out), person.apex + 0.42)[0]
            head, elbow = (tuple(int(coordinate * 16) for coordinate in point) for point in (head, elbow))
            cv2.line(canvas, head, elbow, 95, 30, cv2.LINE_AA, 4)
            cv2.circle(canvas, head, 24 * 16, 125, -1, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(canvas, (0, 0), 1.6).astype(np.float32) / 255.0

    def spine(self) -> np.ndarray:
        """The vertebral column: a band with a bright end plate every vertebra, and the dark trachea in front of it."""
        band = step(0.042 - np.abs(self.u), 0.008)
        plates = _rib_profile(self.v / (0.82 * self.person.pitch))
        trachea = step(0.020 - np.abs(self.middle + 0.004), 0.010) * step(self.person.apex + 0.22 - self.v, 0.03)
        return band * (0.7 + 0.5 * plates) - 0.9 * trachea

    def body(self) -> np.ndarray:
        """The soft tissue's outline and thickness, 0 outside and about 1 in the middle."""
        person, v = self.person, self.v
        across = self.across
        neck = 0.085 + 0.03 * person.habitus
        shoulder_line = person.apex - 0.02 + 0.09 * np.clip((across - neck) / 0.35, 0, 1) ** 1.5
        shoulder_line = shoulder_line - 0.07 * np.exp(-np.maximum(across - neck, 0.0) / 0.03)  # the neck's slope
        trunk = person.thorax + 0.05 + 0.07 * person.habitus + 0.03 * step(v - 0.7, 0.2)
        armpit = step(person.apex + 0.20 - v, 0.12)
        flank = trunk + (person.shoulder - trunk) * armpit
        outline = np.maximum(np.minimum(flank - across, v - shoulder_line), neck - across)
        tissue = 1.0 - np.exp(-np.maximum(outline, 0.0) * np.float32(20.0))
        return np.maximum(tissue, self.arms())

    def arms(self) -> np.ndarray:
        """The upper arms at the sides of the chest, 0 to 0.75."""
        middle = self.person.shoulder - 0.03 + 0.10 * np.clip(self.v - self.person.apex - 0.05, 0.0, 1.0)
        off = (self.across - middle) / (0.062 + 0.02 * self.person.habitus)
        return 0.75 * np.sqrt(np.clip(1.0 - off * off, 0.0, 1.0)) * step(self.v - self.person.apex - 0.05, 0.06)

    def brightness(self, rng: np.random.Generator, vessels: np.ndarray, unevenness: float) -> np.ndarray:
        """The healthy chest: the sum of all tissue in the beam, about 0 to 1.1.

        `unevenness` is the standard deviation of a smooth variation over the whole body.
        """
        person = self.person
        tissue = self.body() * np.float32(0.60 + 0.10 * person.habitus)
        soft = cv2.GaussianBlur(self.lung, (0, 0), 9)
        lung = self.lung * (0.62 + 0.38 * soft)
        image = tissue - lung * np.float32(0.40 - 0.06 * person.habitus)
        image += 0.055 * self.heart + 0.10 * self.below * step(self.lateral(self.v) + 0.03 - self.across, 0.05)
        image += 0.100 * self.ribs() * (0.45 + 0.55 * self.lung) + 0.05 * self.chest_wall()
        image += 0.13 * self.spine() + 0.30 * self.skeleton(rng)
        image += 0.16 * vessels * self.lung
        if person.breast:
            a = (self.across - 0.19) / 0.17
            b = (self.v - self.bases[RIGHT] + 0.04) / 0.16
            image += np.float32(person.breast) * step(1.0 - a * a - b * b, 0.35)
        gas = rng.uniform(0.3, 1.0)  # the stomach bubble, under the left dome
        a = (self.u - rng.uniform(0.10, 0.20)) / rng.uniform(0.04, 0.08)
        b = (self.v - self.bases[LEFT] - rng.uniform(0.05, 0.09)) / rng.uniform(0.02, 0.045)
        image -= np.float32(0.16 * gas) * step(1.0 - a * a - b * b, 0.5) * self.below
        image += np.float32(unevenness) * noise_crop(rng, 160.0, GRID, GRID) * step(tissue, 0.3)
        return image.astype(np.float32)


@lru_cache(maxsize=1)
def _profile_table() -> np.ndarray:
    """One period of the rib pattern in 1,024 steps: gap, cortical edge, paler marrow, cortical edge."""
    t = np.abs(np.linspace(-0.5, 0.5, 1024, endpoint=False))
    bone = 1.0 / (1.0 + np.exp((t - 0.19) / 0.018))
    rim = np.exp(-(((t - 0.165) / 0.03) ** 2))
    return (0.62 * bone + 0.40 * rim).astype(np.float32)


def _rib_profile(phase: np.ndarray) -> np.ndarray:
    return _profile_table()[(phase * 1024.0).astype(np.int32) & 1023]
