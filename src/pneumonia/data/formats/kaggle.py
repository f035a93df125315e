"""The competition in Kaggle's layout, unpacked: three tables, two folders of images."""

from pathlib import Path

from pneumonia.data.formats.base import Files, Format, Given
from pneumonia.data.image_folders import images_of

LABELS, CLASS_INFO = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
SAMPLE, TEST_LABELS = "stage_2_sample_submission.csv", "test_labels.csv"  # test labels: only in the demo
MAPPINGS = ("mapping.csv", "pneumonia-challenge-dataset-mappings_2018.json")  # of the demo, of RSNA
TRAIN_IMAGES, TEST_IMAGES = "stage_2_train_images", "stage_2_test_images"
NAMES = (LABELS, CLASS_INFO, SAMPLE, TRAIN_IMAGES, TEST_IMAGES)


def matches(folder: Path) -> bool:
    return any((folder / name).exists() for name in NAMES)


def read(folder: Path, given: Given) -> Files:
    train, test = folder / TRAIN_IMAGES, folder / TEST_IMAGES
    return Files(
        labels=folder / LABELS,
        classes=folder / CLASS_INFO,
        sample=folder / SAMPLE,
        train_folder=train,
        test_folder=test,
        train_images=images_of(train),
        test_images=images_of(test),
        mapping=next((folder / name for name in MAPPINGS if (folder / name).is_file()), None),
        test_labels=folder / TEST_LABELS if (folder / TEST_LABELS).is_file() else None,
    )


FORMAT = Format("the competition as Kaggle gives it: stage_2_train_labels.csv and so on", matches, read)
