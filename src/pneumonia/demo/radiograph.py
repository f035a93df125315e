"""Make one synthetic radiograph: pixels, boxes and header fields from a person, a pose and a class."""

import cv2
import numpy as np

from pneumonia.demo.anatomy import SIDE, Thorax, noise_crop
from pneumonia.demo.devices import draw_devices, draw_markers
from pneumonia.demo.difficulty import Difficulty
from pneumonia.demo.distractors import add_distractors
from pneumonia.demo.opacities import add_opacities
from pneumonia.demo.person import Person, draw_person, draw_pose

# {view: (millimetres per pixel, their shares)}, measured on the competition's DICOM headers
PIXEL_SPACINGS = {
    "AP": ((0.168, 0.139, 0.171), (0.547, 0.364, 0.089)),
    "PA": ((0.143, 0.168, 0.194311, 0.139, 0.171), (0.622, 0.149, 0.090, 0.076, 0.063)),
}
DEFAULT_DIFFICULTY = Difficulty()


def radiograph(
    rng: np.random.Generator,
    kind: str = "normal",
    view: str = "PA",
    person: Person | None = None,
    difficulty: Difficulty = DEFAULT_DIFFICULTY,
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Make a synthetic chest radiograph.

    Args:
        rng: the image's generator; the same state gives the same image.
        kind: "normal", "not_normal" or "opacity".
        view: "AP" or "PA".
        person: on the image; None: a random one, from `rng`.

    Returns:
        pixels: (1024, 1024) uint8, air black.
        boxes: (n, 4) float64 x, y, width, height in pixels; none unless `kind` is "opacity".
        header: PatientSex, PatientAge, ViewPosition, PixelSpacing, and Devices (not a DICOM field).
    """
    if person is None:
        person = draw_person(rng)
    thorax = Thorax(person, draw_pose(rng, view))
    vessels = thorax.vessels(rng)
    image = thorax.brightness(rng, vessels, difficulty.unevenness)
    add_distractors(rng, image, thorax, kind, difficulty)
    boxes = np.zeros((0, 4))
    if kind == "opacity":
        boxes = add_opacities(rng, image, vessels, thorax, difficulty)
    overlay, names = draw_devices(rng, thorax, kind)
    pixels = _expose(rng, image, overlay, view)
    spacings, shares = PIXEL_SPACINGS[view]
    spacing = float(rng.choice(spacings, p=np.array(shares) / sum(shares)))
    header = {
        "PatientSex": person.sex,
        "PatientAge": person.age,
        "ViewPosition": view,
        "PixelSpacing": spacing,
        "Devices": names,
    }
    return pixels, boxes, header


def _expose(rng: np.random.Generator, image: np.ndarray, overlay: np.ndarray, view: str) -> np.ndarray:
    """Turn summed tissue into a film: scatter, window, quantum noise, markers and collimation."""
    lying = view == "AP"
    film = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    film += overlay * np.float32(0.30 / 255)
    # exposure and contrast vary between films, not with the class; portable films have less contrast (scatter)
    contrast = rng.uniform(190, 285) if lying else rng.uniform(225, 310)
    level = rng.normal(0.47, 0.045)
    film -= np.float32(level)
    film *= np.float32(contrast)
    film += np.float32(rng.normal(124, 8))
    film += np.float32(rng.uniform(2.2, 5.5)) * noise_crop(rng, 1.0, SIDE, SIDE)
    # the film's shoulder: highlights are compressed, not cut
    pixels = cv2.LUT(np.clip(film, 0, 255).astype(np.uint8), _shoulder(rng))
    if rng.random() < (0.35 if lying else 0.20):  # collimator blades leave black borders
        blades = rng.integers(0, 60, 4) * (rng.random(4) < 0.5)
        top, bottom, left, right = (int(b) for b in blades)
        pixels[:top] = pixels[SIDE - bottom :] = 2
        pixels[:, :left] = pixels[:, SIDE - right :] = 2
    letters = np.zeros((SIDE, SIDE), np.uint8)
    draw_markers(rng, letters, view)
    return cv2.max(pixels, letters)


def _shoulder(rng: np.random.Generator) -> np.ndarray:
    """(256,) uint8 tone curve: a random gamma for every film, compressed towards white."""
    t = np.arange(256) / 255.0
    t = t ** rng.uniform(0.85, 1.2)
    t = np.where(t > 0.7, 0.7 + 0.27 * (1 - np.exp(-(t - 0.7) / 0.27)), t)
    return np.round(t * 255).astype(np.uint8)
