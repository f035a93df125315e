"""What makes the demo hard to read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """Brightnesses are in units of the drawing plane: black to white is about 1, and lung is 0.4 darker than tissue."""

    density: tuple[float, float] = (0.28, 0.42)  # that an opacity adds: median, standard deviation of the logarithm
    texture: float = 0.35  # standard deviation of an opacity's clouds, relative to its density
    patchy_share: float = 0.35  # of opacities in clumps, as in bronchopneumonia
    lobar_share: float = 0.20  # of opacities that end at a fissure
    haze: tuple[float, float] = (0.09, 0.45)  # brightness of a haze that is not boxed, as `density`
    haze_share: float = 0.55  # of not-normal images with a haze of an opacity's size and place
    haze_beside: float = 0.25  # of opacity images with an additional haze
    unevenness: float = 0.026  # standard deviation of smooth brightness over the whole body: scatter, soft tissue
    raggedness: float = 0.15  # how far noise moves the outline of a cloud, relative to its radius
    reader: float = 0.02  # standard deviation of each edge of a reader's box, relative to the box's side
