"""Tubes, lines, leads and pacemakers on a synthetic radiograph, and the technician's letters.

As in reality, devices are more frequent with illness and on portable films, so that they hint at an opacity.
"""

import cv2
import numpy as np

from pneumonia.demo.anatomy import LEFT, RIGHT, SIDE, Thorax


def draw_devices(rng: np.random.Generator, thorax: Thorax, kind: str) -> tuple[np.ndarray, list[str]]:
    """Draw tubes, lines, leads and pacemakers: (SIDE, SIDE) uint8 overlay, and the names of the devices."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    lying = thorax.pose.view == "AP"
    sick = {"normal": 0.35, "not_normal": 1.0, "opacity": 1.0}[kind]
    apex, thorax_width = thorax.person.apex, thorax.person.thorax
    names = []

    def line(u, v, thickness, value):
        points = np.round(thorax.to_pixels(u, v, SIDE) * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, int(value), thickness, cv2.LINE_AA, 4)

    def curve(knots, count=40):
        knots = np.asarray(knots, dtype=np.float64)
        t, s = np.linspace(0, len(knots) - 1, count), np.arange(len(knots))
        u, v = np.interp(t, s, knots[:, 0]), np.interp(t, s, knots[:, 1])
        smooth = np.ones(7) / 7
        pad = lambda a: np.convolve(np.pad(a, 3, mode="edge"), smooth, "valid")  # noqa: E731
        return pad(u), pad(v)

    if rng.random() < (0.33 * sick if lying else 0.0):  # endotracheal tube
        tip = apex + rng.uniform(0.10, 0.20)
        u, v = curve([(rng.normal(0, 0.01), 0.0), (0.004, apex), (0.0, tip)])
        line(u - 0.006, v, 2, 120)
        line(u + 0.006, v, 2, 170)
        names.append("endotracheal tube")
    if rng.random() < (0.25 * sick if lying else 0.01):  # nasogastric tube
        end = thorax.bases[LEFT] + rng.uniform(0.05, 0.12)
        u, v = curve([(0.01, 0.0), (0.008, 0.4), (0.02, thorax.bases[LEFT] - 0.03), (rng.uniform(0.07, 0.16), end)])
        line(u, v, 4, 105)
        names.append("nasogastric tube")
    if rng.random() < (0.40 * sick if lying else 0.06 * sick):  # central line
        side = int(rng.choice([RIGHT, LEFT], p=[0.7, 0.3]))
        start = (side * rng.uniform(0.16, 0.34), apex + rng.uniform(-0.06, 0.05))
        tip = (-0.035, apex + rng.uniform(0.22, 0.34))
        u, v = curve([start, (side * 0.09, apex + 0.05), (-0.035, apex + 0.14), tip])
        line(u, v, 3, 150)
        names.append("central line")
    if rng.random() < (0.06 * sick if lying else 0.03 * sick):  # pacemaker
        side = int(rng.choice([LEFT, RIGHT], p=[0.8, 0.2]))
        x, y = thorax.to_pixels(side * 0.25, apex + 0.09, SIDE)[0]
        cv2.ellipse(canvas, (int(x), int(y)), (46, 38), float(rng.uniform(-40, 40)), 0, 360, 200, -1, cv2.LINE_AA)
        cv2.ellipse(canvas, (int(x), int(y) + 8), (26, 20), 0.0, 0, 360, 250, -1, cv2.LINE_AA)
        tip = (0.06, thorax.bases[LEFT] - 0.03)
        u, v = curve([(side * 0.22, apex + 0.06), (side * 0.06, apex + 0.07), (-0.03, apex + 0.2), tip])
        line(u, v, 3, 215)
        names.append("pacemaker")
    if rng.random() < (0.50 * (0.5 + 0.5 * sick) if lying else 0.05):  # leads of the electrocardiogram
        for _ in range(int(rng.integers(2, 5))):
            u0, v0 = rng.uniform(-0.9, 0.9) * thorax_width, rng.uniform(apex - 0.02, 0.80)
            edge = np.sign(u0) * 0.55 if rng.random() < 0.6 else rng.uniform(-0.3, 0.3)
            u, v = curve([(u0, v0), (u0 + rng.normal(0, 0.1), v0 + 0.1), (edge, rng.uniform(0.6, 1.05))])
            line(u, v, 3, 85)
            x, y = thorax.to_pixels(u0, v0, SIDE)[0]
            cv2.circle(canvas, (int(x), int(y)), 10, 190, -1, cv2.LINE_AA)
        names.append("leads")
    if rng.random() < (0.06 * sick if lying else 0.01 * sick):  # sternal wires after surgery
        for v in np.arange(apex + 0.08, thorax.bases[LEFT] - 0.03, 0.075):
            line(np.array([-0.012, 0.0, 0.012, 0.0, -0.012]), v + np.array([0, -0.008, 0, 0.008, 0]), 3, 220)
        names.append("sternal wires")
    return canvas, names


def draw_markers(rng: np.random.Generator, canvas: np.ndarray, view: str) -> None:
    """Draw the technician's letters: L or R, and on portable films a word such as PORTABLE."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    letter = "L" if rng.random() < 0.8 else "R"
    x = int(rng.integers(830, 960)) if letter == "L" else int(rng.integers(40, 150))
    y = int(rng.integers(50, 230))
    cv2.putText(canvas, letter, (x, y), font, float(rng.uniform(1.2, 2.2)), 250, int(rng.integers(3, 7)), cv2.LINE_AA)
    if rng.random() < 0.2:
        cv2.circle(canvas, (x + 18, y - 18), 44, 230, 3, cv2.LINE_AA)
    if view == "AP" and rng.random() < 0.6:
        word = str(rng.choice(["PORTABLE", "AP PORTABLE", "SEMI-ERECT", "SUPINE"]))
        at = (max(10, min(x - 60, 1010 - 19 * len(word))), y + 60)
        cv2.putText(canvas, word, at, font, 0.8, 245, 2, cv2.LINE_AA)
