"""Grad-CAM pictures of a classifier's surest true and false positives, where its weights and images are still there."""

import pandas as pd

from pneumonia.data.cache import Cache
from pneumonia.data.labels import HEADS
from pneumonia.data.person_features import model_input, person_features_of
from pneumonia.data.samples import CachedImages
from pneumonia.metrics.classification import cross_fit_thresholds
from pneumonia.reports.evaluated import Evaluated
from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.progress import say
from pneumonia.system.quiet import import_keras_quietly

PICTURES = 8  # of each kind


def grad_cam_gallery(evaluated: Evaluated) -> list[tuple[str, str]]:
    """(data URI, caption) of held-out images of the first run, positive at thresholds that were fitted on other
    people; none where it has no feature map or its image cache is gone."""
    run, table = evaluated.runs[0], evaluated.table
    is_positive, _ = cross_fit_thresholds(table["target"].to_numpy(), table["opacity"].to_numpy(), evaluated.parts())
    own = table[is_positive & (table["fold"].astype(str) == str(run.fold)).to_numpy()]
    surest_first = own.sort_values("opacity", ascending=False, kind="stable")
    chosen = pd.concat([surest_first[surest_first["target"] == target][:PICTURES] for target in (1, 0)])
    try:
        return pictures_of(run, chosen, Cache(run.start()["prepared"]["cache"]))
    except (BadInput, EnvironmentFailure, OSError) as error:
        say(f"no Grad-CAM: {error}")
        return []


def pictures_of(run, chosen: pd.DataFrame, cache: Cache) -> list[tuple[str, str]]:
    """(data URI, caption) of each chosen image under its heat map; none where the network has no feature map."""
    import_keras_quietly()
    from pneumonia.inference.network import network_of
    from pneumonia.reports.classifier_figures import overlay_heat_map
    from pneumonia.reports.figures import jpeg
    from pneumonia.reports.grad_cam import has_feature_map, heat_map

    network, family, experiment = network_of(run)
    if not has_feature_map(network):
        return []
    output = HEADS[experiment.model.head].positive_index  # what the table calls opacity
    images = CachedImages(cache, chosen["patientId"], experiment.image_size)
    features = person_features_of(cache.index.iloc[images.rows])
    captioned = []
    for number, row in enumerate(chosen.itertuples()):
        image, person = images[number], features[number : number + 1]
        heat = heat_map(network, model_input(image[None, ..., None], person, family.person_inputs), output)[0]
        kind = "true positive" if row.target else f"false positive ({row[own_class(chosen)]})"
        captioned.append((jpeg(overlay_heat_map(image, heat)), f"{kind}, {row.opacity:.2f} · {row.patientId[:8]}"))
    return captioned


def own_class(table: pd.DataFrame) -> int:
    """Position of the column `class` in itertuples: a Python keyword is no attribute."""
    return 1 + table.columns.get_loc("class")
