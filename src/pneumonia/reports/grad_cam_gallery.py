"""Grad-CAM pictures of a classifier's most confident true and false positives, if weights and images still exist."""

import pandas as pd

from pneumonia.data.cache import Cache
from pneumonia.data.labels import HEADS
from pneumonia.data.person_features import model_input, person_features_of
from pneumonia.data.samples import CachedImages
from pneumonia.metrics.classification import cross_fit_thresholds
from pneumonia.reports.held_out import HeldOut
from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.keras_import import import_keras_quietly
from pneumonia.system.progress import say

PICTURES = 8  # of each kind


def grad_cam_gallery(held_out: HeldOut) -> list[tuple[str, str]]:
    """Return (data URI, caption) of held-out images of the first run that are predicted positive.

    Thresholds are fitted on other people. Empty if the network has no feature map or the image cache does not exist.
    """
    run, table = held_out.runs[0], held_out.table
    is_positive, _ = cross_fit_thresholds(table["target"].to_numpy(), table["opacity"].to_numpy(), held_out.parts())
    positives = table[is_positive & (table["fold"].astype(str) == str(run.fold)).to_numpy()]
    positives = positives.sort_values("opacity", ascending=False, kind="stable")
    selected = pd.concat([positives[positives["target"] == target][:PICTURES] for target in (1, 0)])
    try:
        return pictures_of(run, selected, Cache(run.start()["prepared"]["cache"]))
    except (BadInput, EnvironmentFailure, OSError) as error:
        say(f"no Grad-CAM: {error}")
        return []


def pictures_of(run, table: pd.DataFrame, cache: Cache) -> list[tuple[str, str]]:
    """Return (data URI, caption) of each image with its heat map; empty if the network has no feature map."""
    import_keras_quietly()
    from pneumonia.inference.network import network_of
    from pneumonia.reports.classifier_figures import overlay_heat_map
    from pneumonia.reports.figures import jpeg
    from pneumonia.reports.grad_cam import has_feature_map, heat_map

    network, family, experiment = network_of(run)
    if not has_feature_map(network):
        return []
    output = HEADS[experiment.model.head].positive_index  # the table's opacity
    images = CachedImages(cache, table["patientId"], experiment.image_size)
    features = person_features_of(cache.index.iloc[images.rows])
    pictures = []
    class_column = 1 + table.columns.get_loc("class")  # `row.class` is not valid Python
    for number, row in enumerate(table.itertuples()):
        image, person = images[number], features[number : number + 1]
        heat = heat_map(network, model_input(image[None, ..., None], person, family.person_inputs), output)[0]
        kind = "true positive" if row.target else f"false positive ({row[class_column]})"
        pictures.append((jpeg(overlay_heat_map(image, heat)), f"{kind}, {row.opacity:.2f} · {row.patientId[:8]}"))
    return pictures
