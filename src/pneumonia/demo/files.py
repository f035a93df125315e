"""Write the demo's files: DICOMs and tables exactly as the competition has them."""

import csv
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import simplejpeg
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

from pneumonia.demo.person import Person

VERSION = 8  # of the generator; raise it when the output changes, then demos of other versions are generated again
CLASS_NAMES = {
    "normal": "Normal",
    "not_normal": "No Lung Opacity / Not Normal",
    "opacity": "Lung Opacity",
}
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Image:
    """One planned image of the demo."""

    patient_id: str
    number: int  # selects its random generator
    part: str  # "train" or "test"
    kind: str  # key of CLASS_NAMES
    view: str
    person_number: int
    visit: int  # number of the image among those of the person
    person: Person


def write_dicom(path: Path, pixels: np.ndarray, patient_id: str, header: dict) -> None:
    """Write a radiograph in the competition's form: the same elements, JPEG Baseline, encapsulated.

    Args:
        pixels: (1024, 1024) uint8.
        header: PatientSex, PatientAge, ViewPosition, PixelSpacing, as `radiograph` returns them.
    """
    number = uuid.UUID(patient_id).int
    instance, study, series = (f"2.25.{(number + step) % 2**128}" for step in range(3))
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.ImplementationClassUID = "2.25.227048301861937504283316902518"
    meta.ImplementationVersionName = f"PHANTOM_{VERSION}"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\x00" * 128)
    file.SpecificCharacterSet = "ISO_IR 100"
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, instance
    file.StudyDate, file.StudyTime, file.AccessionNumber = "19010101", "000000.00", ""
    file.Modality, file.ConversionType, file.ReferringPhysicianName = "CR", "WSD", ""
    file.SeriesDescription = f"view: {header['ViewPosition']}"
    file.PatientName = file.PatientID = patient_id
    file.PatientBirthDate, file.PatientSex = "", header["PatientSex"]
    # the competition writes the age without its unit, "62", which the standard does not allow ("062Y")
    file.add(DataElement("PatientAge", "AS", str(header["PatientAge"]), validation_mode=pydicom.config.IGNORE))
    file.BodyPartExamined, file.ViewPosition = "CHEST", header["ViewPosition"]
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.StudyID, file.SeriesNumber, file.InstanceNumber, file.PatientOrientation = "", 1, 1, ""
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = pixels.shape
    file.PixelSpacing = [header["PixelSpacing"]] * 2
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.LossyImageCompression, file.LossyImageCompressionMethod = "01", "ISO_10918_1"
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels[..., None]), JPEG_QUALITY, colorspace="GRAY")
    file.PixelData = encapsulate([jpeg], has_bot=True)
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True)


def write_tables(folder: Path, images: list[Image], boxes: dict[str, np.ndarray]) -> None:
    """Write all tables. boxes: {patientId: (n, 4) x, y, width, height in pixels}."""

    def write_table(name: str, columns: str, rows: Iterable[tuple]) -> None:
        with open(folder / name, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns.split(","))
            writer.writerows(rows)

    def label_rows(part: str) -> Iterator[tuple]:
        for image in images:
            if image.part == part:
                for xywh in boxes[image.patient_id]:
                    yield image.patient_id, *map(float, xywh), 1
                if not len(boxes[image.patient_id]):
                    yield image.patient_id, "", "", "", "", 0

    write_table("stage_2_train_labels.csv", "patientId,x,y,width,height,Target", label_rows("train"))
    write_table("test_labels.csv", "patientId,x,y,width,height,Target", label_rows("test"))
    write_table(
        "stage_2_detailed_class_info.csv",
        "patientId,class",
        (
            (image.patient_id, CLASS_NAMES[image.kind])
            for image in images
            if image.part == "train"
            for _ in range(max(1, len(boxes[image.patient_id])))
        ),
    )
    write_table(
        "stage_2_sample_submission.csv",
        "patientId,PredictionString",
        ((image.patient_id, "0.5 0 0 100 100") for image in images if image.part == "test"),
    )
    write_table(
        "mapping.csv",
        "patientId,nih_image,nih_patient",
        (
            (image.patient_id, f"{image.person_number:08d}_{image.visit:03d}.png", image.person_number)
            for image in images
        ),
    )
