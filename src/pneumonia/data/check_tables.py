"""Find every fault of the competition's tables at once: row by row, between tables, and against the images."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.data.competition import Competition
from pneumonia.data.final_test_set import find_test_rows
from pneumonia.data.labels import CLASSES
from pneumonia.data.people import mapping_fault
from pneumonia.data.tables import ClassRows, LabelRows, read_classes, read_labels, read_sample
from pneumonia.system.csv_rows import format_exactly
from pneumonia.system.errors import BadInput, Fault

SLACK = 1e-6  # pixels by which x + width may exceed the image, because numbers in text are rounded

SizeOf = Callable[[str], tuple[int, int]]  # patientId to rows, columns


def table_faults(
    competition: Competition,
    clip_boxes: bool = False,
    needs_images: bool = False,
    needs_sample: bool = True,
) -> list[Fault]:
    """Every fault of the tables, file by file in the order of their rows.

    Args:
        clip_boxes: boxes are clipped to their images later, so that only those completely outside are faults.
        needs_images: a folder without images is a fault; otherwise its tables are only compared with each other.
        needs_sample: a folder without the sample submission is a fault.
    """
    faults: list[Fault] = []
    labels = read_labels(competition.labels, faults, competition.has_uuids)
    classes = read_classes(competition.classes, faults, competition.has_uuids)
    faults += outside_faults(labels, competition.labels, clip_boxes, competition.size_of)
    faults += class_faults(labels, classes, competition)
    if needs_sample or competition.sample.exists():
        samples = read_sample(competition.sample, faults, competition.has_uuids)
    else:
        samples = None
    for table in filter(None, (competition.test_labels, competition.final_labels)):
        test_labels = read_labels(table, faults, competition.has_uuids)
        faults += outside_faults(test_labels, table, clip_boxes, competition.size_of)
    faults += find_test_rows(labels.mentioned.items(), competition.test_ids, competition.labels)
    faults += mapping_faults(competition, labels)
    if needs_images or competition.train_images or competition.test_images:
        faults += image_faults(labels, samples, competition)
    paths = [competition.labels, competition.classes, competition.sample, competition.test_labels]
    paths += [competition.final_labels, competition.mapping]
    order = {str(path): number for number, path in enumerate(paths) if path}
    return sorted(faults, key=lambda fault: (order.get(fault.file, len(order)), fault.row or 0))


def outside_faults(labels: LabelRows, path: Path, clip_boxes: bool, size_of: SizeOf) -> Iterator[Fault]:
    """Boxes that extend beyond their image; with `clip_boxes` only those completely outside."""
    for name, line, box in zip(labels.ids, labels.lines, labels.boxes):
        if box is None:
            continue
        x, y, width, height = box
        rows, columns = size_of(name)
        size = f"the image's {columns} x {rows} pixels"
        if x >= columns or y >= rows or x + width <= 0 or y + height <= 0:
            yield Fault(
                "box-outside", str(path), line, f"the box is completely outside {size}", "fix or remove the row"
            )
        elif not clip_boxes and (min(x, y) < 0 or x + width > columns + SLACK or y + height > rows + SLACK):
            ends = f"{format_exactly(x)},{format_exactly(y)}-{format_exactly(x + width)},{format_exactly(y + height)}"
            fix = "correct the row, or give clip_boxes=true to clip boxes to their images"
            yield Fault("box-outside", str(path), line, f"the box {ends} exceeds {size}", fix)


def class_faults(labels: LabelRows, classes: ClassRows, competition: Competition) -> Iterator[Fault]:
    """Images of two classes, images in one table only, and Lung Opacity without Target 1 or the reverse."""
    kinds: dict[str, tuple[str, int]] = {}
    path = str(competition.classes)
    for name, line, kind in zip(classes.ids, classes.lines, classes.classes):
        first_kind, first_line = kinds.setdefault(name, (kind, line))
        if first_kind != kind:
            what = f"another class for {name} than in row {first_line}"
            yield Fault("class-contradiction", path, line, what, "keep the correct rows")
    targets = dict(zip(labels.ids, labels.targets))
    if not labels.mentioned or not classes.mentioned:
        return  # an unreadable table is a fault already; do not add one per image
    for name, line in labels.mentioned.items():
        if name not in classes.mentioned and competition.is_id(name):
            what = f"{name} has no class in {competition.classes.name}"
            yield Fault("no-class", str(competition.labels), line, what, "add its row there")
    for name, line in classes.mentioned.items():
        if name not in labels.mentioned and competition.is_id(name):
            what = f"{name} has no row in {competition.labels.name}"
            yield Fault("no-label", path, line, what, "add its row there, or remove this one")
    for name, (kind, line) in kinds.items():
        if name in targets and (kind == CLASSES.positive) != (targets[name] == 1):
            what = f"{name} has class {kind} and Target {targets[name]}"
            yield Fault("class-target", path, line, what, "correct one: Lung Opacity is exactly Target 1")


def mapping_faults(competition: Competition, labels: LabelRows) -> list[Fault]:
    """Faults of the table of people itself, or between it and the labelled images."""
    try:
        people = competition.people()
    except BadInput as error:
        return error.faults
    if competition.mapping is None or not labels.mentioned:
        return []
    table, allow_unmapped = competition.labels.name, competition.allow_unmapped
    fault = mapping_fault(people, labels.mentioned, competition.mapping, table, allow_unmapped)
    return [fault] if fault else []


def image_faults(labels: LabelRows, samples: Mapping[str, int] | None, competition: Competition) -> Iterator[Fault]:
    """Labels without an image, images without a label, and sample ids that differ from the test images."""
    yield from competition.repeated_images
    train, test = competition.train_images, competition.test_images
    places = {"training": (train, competition.train_folder), "test": (test, competition.test_folder)}
    for kind, (images, folder) in places.items():
        if not images:
            what = "has no images (DICOM, PNG or JPEG)" if folder.is_dir() else "is missing"
            if competition.train_folder == competition.test_folder and (train or test):
                what = f"has none of the {kind} images"
            yield Fault("no-images", str(folder), None, what, "download it from the competition's data page")
    yield from compare_ids(labels.mentioned, train, competition.labels, competition.is_id, competition.train_folder)
    if samples is not None:
        yield from compare_ids(samples, test, competition.sample, competition.is_id, competition.test_folder)
    for name in sorted(train.keys() & test.keys()):
        what = "is also in the training folder"
        yield Fault("train-and-test", str(test[name]), None, what, "remove it from one of the two")


def compare_ids(
    listed: Mapping[str, int], images: Mapping[str, Path], table: Path, is_id: Callable[[str], bool], folder: Path
) -> Iterator[Fault]:
    """Ids of a table without a file, and files that the table does not list; nothing where one of the two is empty.

    Args:
        folder: of the images, which may be deeper in it.
    """
    if not listed or not images:
        return
    file = next(iter(images.values()))
    if images.keys().isdisjoint(listed):
        difference = spelling_difference(images, listed.keys())
        what = f"names none of the images in {folder.name}{difference}"
        yield Fault("no-image", str(table), None, what, "name the files as the table names the images")
        return
    is_flat = file.parent == folder
    for name, line in listed.items():
        if name not in images and is_id(name):
            what = f"there is no {folder.name}/{name}{file.suffix}"
            fix = "add the file, or remove the row"
            if not is_flat:
                what = f"there is no file of {name} in {folder.name}"
                fix = "get the whole archive of RSNA's page, or give allow_missing=true"
            yield Fault("no-image", str(table), line, what, fix)
    for name, file in images.items():
        if name not in listed:
            yield Fault("no-label", str(file), None, f"has no row in {table.name}", "remove the file, or add its row")
