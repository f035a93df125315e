"""The labels of images: names, display names, and which label means an opacity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelSet:
    """The labels of one kind of network or table.

    names: in settings, tables and code, in the order of a network's outputs.
    positive: the label that counts as an opacity: column `opacity` of a class table.
    exclusive: exactly one label is true of an image (softmax); otherwise each may be true (sigmoids).
    display_names: in the data's own tables and on report pages; empty: the names.
    colours: HTML colours in figures; empty where no figure shows the labels.
    """

    names: tuple[str, ...]
    positive: str
    exclusive: bool
    display_names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def positive_index(self) -> int:
        """Position of the positive label among the names."""
        return self.names.index(self.positive)

    @property
    def display(self) -> dict[str, str]:
        """{name: display name}."""
        return dict(zip(self.names, self.display_names or self.names))

    @property
    def colour(self) -> dict[str, str]:
        """{name: colour}."""
        return dict(zip(self.names, self.colours))


# The competition's classes: every image has one of them; Lung Opacity is the same as Target 1.
CLASSES = LabelSet(
    names=("normal", "not_normal", "opacity"),
    positive="opacity",
    exclusive=True,
    display_names=("Normal", "No Lung Opacity / Not Normal", "Lung Opacity"),
    colours=("#4c9f70", "#e0a030", "#c8503c"),
)

OPACITY = LabelSet(names=("opacity",), positive="opacity", exclusive=False, display_names=("Lung Opacity",))

# ChestX-ray14, in the order of CheXNet's outputs.
NIH = LabelSet(
    names=(
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
        "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
    ),
    positive="Pneumonia",
    exclusive=False,
)  # fmt: skip

HEADS = {"binary": OPACITY, "classes": CLASSES, "nih": NIH}  # by a classifier's setting model.head
