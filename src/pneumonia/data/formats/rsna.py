"""RSNA's own release: DICOMs in folders of UIDs, labels of all images in one JSON (data/release_files.py).

The images with a consensus label are the competition's: 26,684 for training and 3,000 of the final test. They are told
apart by Kaggle's sample submission, where it is there, or by test_ids=. The labels of the test images become a table of
their own, which only scores a finished submission.
"""

from collections import Counter
from pathlib import Path

from pneumonia import config
from pneumonia.data.formats.base import Files, Format, Given, ReleaseTables, write_tables
from pneumonia.data.formats.kaggle import TRAIN_IMAGES
from pneumonia.data.image_folders import ImageFolder
from pneumonia.data.mdai import ADJUDICATED
from pneumonia.data.release_files import ReleaseFiles, find_files, images_by_uid
from pneumonia.data.release_files import matches as is_release
from pneumonia.data.release_labels import (
    WHERE,
    ReleaseLabels,
    check_test_ids,
    json_mapping,
    read_labels_by_id,
    read_test_ids,
    write_final_labels,
)
from pneumonia.data.tables import UUID
from pneumonia.system.errors import Fault, bad_input


def matches(folder: Path) -> bool:
    return not (folder / TRAIN_IMAGES).exists() and is_release(folder)


def read(folder: Path, given: Given) -> Files:
    """Find the files and write the tables.

    Raises:
        BadInput: there are no annotations, the test images are not known, or a file has faults.
    """
    found = find_files(folder, given.beside or folder.parent)
    annotations = given.annotations or found.annotations
    if annotations is None:
        fix = f"put {ADJUDICATED} from RSNA's page there, or give annotations=FILE"
        raise bad_input(folder, "has images named by UIDs, but no annotations", fix)
    images_folder = find_images_folder(folder, found)
    files, faults = images_by_uid(images_folder) if images_folder else ({}, [])
    labels = read_labels_by_id(annotations, json_mapping(given.mapping, found.mapping, annotations=annotations))
    test_ids = find_test_ids(folder, given, found, labels)
    images = {name: file for sop, file in files.items() if (name := labels.ids.get(sop, sop)) in labels.classes}
    is_test = set(test_ids)
    train = [name for name in labels.classes if name not in is_test]
    if given.allow_missing and images:
        train = [name for name in train if name in images]
    boxes, classes = ({name: table[name] for name in train} for table in (labels.boxes, labels.classes))
    label_table, class_table, sample = write_tables(folder.name, boxes, classes, sorted(test_ids))
    mapping = given.mapping or labels.mapping
    return Files(
        labels=label_table,
        classes=class_table,
        sample=found.sample if found.sample and not given.test_ids else sample,
        train_folder=images_folder or folder,
        test_folder=images_folder or folder,
        train_images=ImageFolder({name: images[name] for name in train if name in images}, faults),
        test_images=ImageFolder({name: images[name] for name in sorted(test_ids) if name in images}, []),
        mapping=mapping,
        final_labels=write_final_labels(folder.name, {name: labels.boxes[name] for name in sorted(test_ids)}),
        has_uuids=all(map(UUID.fullmatch, labels.classes)),
        warnings=find_warnings(labels, files),
        release=ReleaseTables(
            mapping=labels.mapping,
            readers=found.readers,
            kaggle_labels=found.labels,
            kaggle_classes=found.classes,
        ),
    )


def find_images_folder(folder: Path, found: ReleaseFiles) -> Path | None:
    """The folder of the studies, unpacked from the zip beside the annotations where there is no other; None without.

    Raises:
        BadInput: there are several.
    """
    places = found.studies
    if not places and found.archives:
        from pneumonia.data.archive import unpack_once

        if len(found.archives) > 1:
            names = ", ".join(path.name for path in found.archives)
            raise bad_input(folder, f"has several zips: {names}", "unpack the one with the images")
        unpacked = unpack_once(found.archives[0], config.REPOSITORY / "cache")
        places = find_files(unpacked, unpacked).studies
    if len(places) > 1:
        names = " and ".join(map(str, places[:2]))
        raise bad_input(folder, f"has studies in several folders: {names}", "keep one of the archives there")
    return places[0] if places else None


def find_test_ids(folder: Path, given: Given, found: ReleaseFiles, labels: ReleaseLabels) -> list[str]:
    """The ids of the competition's test images. Raises BadInput where they are not known, or have no label."""
    source = given.test_ids or found.sample
    if source is None:
        what = "does not say which of its images are the competition's test set, whose labels no fit may see"
        raise bad_input(folder, what, f"put stage_2_sample_submission.csv there, or give test_ids= {WHERE}")
    ids = read_test_ids(source)
    check_test_ids(labels, ids, source)
    return ids


def find_warnings(labels: ReleaseLabels, files: dict[str, Path]) -> list[Fault]:
    """What `check` says about images that are left out or have no name on Kaggle."""
    warnings, annotations = [], str(labels.annotations)
    if labels.mapping is None:
        what = "is read without RSNA's mapping: images are named by their SOPInstanceUID, not as on Kaggle"
        fix = "put pneumonia-challenge-dataset-mappings_2018.json beside it, or give mapping="
        warnings.append(Fault("no-kaggle-ids", annotations, None, what, fix))
    if labels.unlabelled:
        counts = Counter(label for names in labels.unlabelled.values() for label in names)
        most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
        kinds = ", ".join(f"{label} {count}" for label, count in most)
        what = f"has no consensus label for {len(labels.unlabelled)} images ({kinds}), the first is "
        what += f"{min(labels.unlabelled)}: they are left out"
        warnings.append(Fault("unlabelled", annotations, None, what, "nothing to do: Kaggle left them out too"))
    known = labels.classes.keys() | labels.unlabelled.keys()
    others = [sop for sop in files if labels.ids.get(sop, sop) not in known]
    if others:
        what = f"and {len(others) - 1} more images are not in {labels.annotations.name}: they are left out"
        fix = "nothing to do, if the archive is the later one, of 2018-08-20"
        warnings.append(Fault("not-annotated", str(files[others[0]]), None, what, fix))
    return warnings


FORMAT = Format("RSNA's own release: DICOMs in folders of UIDs, the adjudicated annotations beside them", matches, read)
