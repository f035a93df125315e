"""DICOMs to image cache."""

import cv2
import numpy as np
import pandas as pd
import pydicom
import simplejpeg
from pydicom.encaps import get_frame

from pneumonia import config
from pneumonia.data.cache import Cache
from pneumonia.data.competition import Competition, resolve
from pneumonia.progress import progress


def ingest(competition: Competition, image_size: int, workers: int = 0) -> Cache:
    folder = config.REPOSITORY / "cache" / f"{competition.name}-{competition.content_key}-{image_size}"
    if not (folder / "index.csv").exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows, pixels = [], []
        images = [("train", *each) for each in competition.train_images.items()]
        images += [("test", *each) for each in competition.test_images.items()]
        for split, image, path in progress(images, "reading DICOMs"):
            header = pydicom.dcmread(path)
            gray = simplejpeg.decode_jpeg(get_frame(header.PixelData, 0, number_of_frames=1), "GRAY")[..., 0]
            pixels.append(cv2.resize(gray, (image_size, image_size), interpolation=cv2.INTER_AREA))
            rows.append((image, split, header.Rows, header.Columns))
        np.save(folder / "pixels.npy", np.stack(pixels))
        table = pd.DataFrame(rows, columns=["patientId", "split", "rows", "columns"])
        table.to_csv(folder / "index.csv", index=False)
    return Cache(folder)


def command(settings) -> dict:
    cache = ingest(resolve(settings), settings.image_size)
    return {"images": len(cache.index)}
