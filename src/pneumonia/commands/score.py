"""`./run.sh score`: the competition's metric of a submission, with an interval over people."""

from pathlib import Path

from pneumonia import config, schema
from pneumonia.boxes.exchange.reading import parse_predictions
from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.data.formats.kaggle import SAMPLE
from pneumonia.data.people import check_people, read_people
from pneumonia.data.release_labels import WHERE, final_boxes, json_mapping
from pneumonia.ensemble.looks import family_of, final_scores
from pneumonia.metrics.coco_ap import coco_lines, coco_scores
from pneumonia.metrics.intervals import mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores, read_truth
from pneumonia.reports.final_score import final_line
from pneumonia.system.csv_rows import first_faults
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.json_values import without_nan


def score(settings: schema.Score) -> dict:
    """Print and return the score of the images that the submission lists.

    Raises:
        BadInput: a broken file, an image without a label; with complete=true, a labelled image that is not listed.
    """
    path = config.required_path(settings.submission, "submission", "the file to score")
    labels, truth, mapping = read_labels(settings)
    is_final = bool(settings.annotations)
    detections, lines, faults = parse_predictions(path)
    known, listed = set(truth.ids), set(detections.ids)
    unknown = [(line, name) for line, name in zip(lines, detections.ids) if name not in known]
    if len(unknown) == len(listed) > 1:
        what = f"none of its images has a label in {labels.name}{spelling_difference(detections.ids, known)}"
        faults.append(Fault("unlabelled", str(path), None, what, "give the labels of these images"))
    else:
        for line, name in unknown:
            fix = f"drop the row, or give labels of {name}"
            faults.append(Fault("unlabelled", str(path), line, f"{name} has no label in {labels.name}", fix))
    left_out = [name for name in truth.ids if name not in listed]
    if (settings.complete or is_final) and left_out:
        what = f"{len(left_out)} labelled images are left out, the first is {left_out[0]}"
        faults.append(Fault("left-out", str(path), None, what, "list every labelled image, empty for no box"))
    if faults:
        raise BadInput(first_faults(faults, path))
    groups, unmapped = None, None
    if mapping:
        groups = read_people(mapping)
        unmapped = check_people(groups, detections.ids, mapping, path.name, settings.allow_unmapped).as_json()
    scores = image_scores(truth, detections)
    interval = mean_interval(scores, people_of(detections.ids, groups), settings.draws, settings.seed)
    scored = int((scores == scores).sum())
    if left_out:
        print(f"{len(left_out)} labelled images are not in the submission and not scored (first: {left_out[0]})")
    if not scored:
        print(f"no score: none of the {len(detections)} images has a box, labelled or predicted")
    else:
        over = "people" if groups is not None else "images (give groups=MAPPING.csv for people)"
        print(f"score {interval.value:.5f}, 95 % interval {interval.low:.5f} to {interval.high:.5f} over {over}")
        print(f"{scored} images in the mean, of {len(detections)} listed")
    coco = coco_scores(truth, detections) if settings.coco else None
    if coco:
        print("\n".join(coco_lines(coco)))
    result = {
        "score": interval.value,
        "low": interval.low,
        "high": interval.high,
        "images_scored": scored,
        "images_listed": len(detections),
        "left_out": {"count": len(left_out), "first": left_out[0] if left_out else None},
        "unmapped": unmapped,
    }
    if coco:
        result["coco"] = coco
    if is_final:
        family = family_of(path)
        result |= final_scores(path, detections, truth, groups or {}, family, None, settings.draws, settings.seed)
        print(final_line(result))
    return without_nan(result)


def read_labels(settings: schema.Score) -> tuple[Path, Truth, Path | None]:
    """The label table, or the annotations; their boxes, of the annotations those of the test images; and the mapping.

    Raises:
        BadInput: a file is missing or faulty, or both are given.
    """
    groups = config.user_path(settings.groups) if settings.groups else None
    if not settings.annotations:
        labels = config.required_path(settings.labels, "labels", "the label table")
        return labels, read_truth(labels), groups
    annotations = config.required_path(settings.annotations, "annotations", "RSNA's annotations")
    if config.user_path(settings.submission).is_dir():
        raise bad_input(settings.submission, "is a folder", "give a finished submission, one file, for the final score")
    if settings.labels:
        fix = "give annotations= alone for the final score, labels= for any other"
        raise bad_input("command line", "labels= and annotations= are both given", fix)
    mapping = json_mapping(groups, annotations=annotations)
    test_ids = config.user_path(settings.test_ids) if settings.test_ids else annotations.parent / SAMPLE
    if not test_ids.is_file():
        what = "is missing: it says which images are the competition's test set"
        raise bad_input(test_ids, what, f"put it there, or give test_ids= {WHERE}")
    boxes = final_boxes(annotations, mapping, test_ids)
    return annotations, Truth.from_lists(list(boxes), list(boxes.values())), groups or mapping
