"""`./run.sh ingest`: makes the image cache from DICOMs."""

import time

from pneumonia import config, schema
from pneumonia.data.check import labelled_images, refuse_faults
from pneumonia.data.competition import resolve
from pneumonia.data.ingest import ingest as cache_images
from pneumonia.system.progress import say


def ingest(settings: schema.Ingest) -> dict:
    """Make the cache, after checking the folder; return its path, the number of images and the seconds."""
    start = time.monotonic()
    competition = resolve(settings, needs_sample=False)
    refuse_faults(competition, settings.clip_boxes)
    unmapped = competition.check_mapping(labelled_images(competition))
    out = config.user_path(settings.out) if settings.out else None
    cache = cache_images(competition, settings.image_size, settings.workers, out, settings.verify)
    seconds = round(time.monotonic() - start, 3)
    say(f"ingest: {len(cache)} images of {cache.size} x {cache.size} in {cache.folder}, {seconds:.1f} s")
    return {
        "cache": str(cache.folder),
        "images": len(cache),
        "seconds": seconds,
        "unmapped": unmapped.as_json() if unmapped else None,
    }
