"""Who is on a synthetic radiograph, and how they stood or lay: random people and poses.

Lengths are fractions of the image side, in the body coordinates u and v of anatomy.py.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Person:
    """What all radiographs of one person have in common. Lengths are fractions of the image side."""

    sex: str
    age: int
    thorax: float  # half width of the rib cage where it is widest
    apex: float  # v of the lung tops
    base: float  # v of the right dome of the diaphragm in full inspiration
    heart: float  # half width of the heart relative to that of the thorax
    aorta: float  # radius of the aortic knob
    pitch: float  # distance from rib to rib
    slope: float  # slope of the ribs towards the side
    clavicle: float  # rise of the clavicles towards the shoulder
    shoulder: float  # half width of the body at the shoulders
    breast: float  # added brightness over the lower lungs
    habitus: float  # thickness of the soft tissue, 0 lean to 1 heavy
    tree: int  # seed of the vessel tree


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a person of random build: 56.8 % male, ages N(47, 17), as in the competition's DICOM headers."""
    male = rng.random() < 0.568
    habitus = rng.beta(2.0, 3.0)
    return Person(
        sex="M" if male else "F",
        age=int(np.clip(rng.normal(47, 17), 5, 92)),
        thorax=rng.normal(0.352 if male else 0.332, 0.014),
        apex=rng.normal(0.140, 0.018),
        base=rng.normal(0.735 if male else 0.72, 0.025),
        heart=float(np.clip(rng.normal(0.46, 0.05), 0.36, 0.60)),
        aorta=rng.uniform(0.028, 0.045),
        pitch=rng.uniform(0.060, 0.072),
        slope=rng.uniform(0.9, 1.5),
        clavicle=rng.uniform(0.02, 0.07),
        shoulder=rng.uniform(0.47, 0.56),
        breast=0.0 if male else rng.uniform(0.03, 0.16),
        habitus=habitus,
        tree=int(rng.integers(2**31)),
    )


@dataclass(frozen=True)
class Pose:
    """How the person stood or lay in front of the detector, one per radiograph."""

    view: str  # "AP" (portable, lying or sitting) or "PA" (standing)
    shift: tuple[float, float]
    rotation: float  # radians
    zoom: float
    turn: float  # shift of the midline structures against the ribs, as the person is turned
    inspiration: float  # added to v of the diaphragm; negative = shallow breath
    left_dome: float  # v of the left dome below the right one
    heart_zoom: float  # the heart is nearer to the X-ray tube in AP, and so larger


def draw_pose(rng: np.random.Generator, view: str) -> Pose:
    """Draw a pose for a view, "AP" or "PA"."""
    lying = view == "AP"
    spread = 1.6 if lying else 1.0
    return Pose(
        view=view,
        shift=(rng.normal(0, 0.024 * spread), rng.normal(0.005, 0.030 * spread)),
        rotation=rng.normal(0, 0.018 * spread),
        zoom=rng.normal(0.985 if lying else 1.0, 0.055),
        turn=rng.normal(0, 0.006 * spread),
        inspiration=rng.normal(-0.045, 0.035) if lying else rng.normal(0.0, 0.018),
        left_dome=rng.normal(0.018, 0.012),
        heart_zoom=rng.uniform(1.08, 1.22) if lying else rng.uniform(0.96, 1.04),
    )


def follow_up(person: Person, years: int) -> Person:
    """The same person `years` later."""
    return replace(person, age=min(person.age + years, 94))
