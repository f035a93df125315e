"""`./run.sh score`: the competition's metric of a submission, with an interval over people."""

from pneumonia import config, schema
from pneumonia.boxes.exchange.reading import parse_predictions
from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.data.people import check_people, read_people
from pneumonia.metrics.coco_ap import coco_lines, coco_scores
from pneumonia.metrics.intervals import mean_interval, people_of
from pneumonia.metrics.iou_map import image_scores, read_truth
from pneumonia.system.csv_rows import first_faults
from pneumonia.system.errors import BadInput, Fault
from pneumonia.system.json_values import without_nan


def score(settings: schema.Score) -> dict:
    """Print and return the score of the images that the submission lists.

    Raises:
        BadInput: a broken file, an image without a label; with complete=true, a labelled image that is not listed.
    """
    path = config.required_path(settings.submission, "submission", "the file to score")
    labels = config.required_path(settings.labels, "labels", "the label table")
    truth = read_truth(labels)
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
    if settings.complete and left_out:
        what = f"{len(left_out)} labelled images are left out, the first is {left_out[0]}"
        faults.append(Fault("left-out", str(path), None, what, "list every labelled image, empty for no box"))
    if faults:
        raise BadInput(first_faults(faults, path))
    groups, unmapped = None, None
    if settings.groups:
        mapping = config.user_path(settings.groups)
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
    return without_nan(result)
