"""The figures that the student report published for its eight models. Its split leaks people."""

from typing import NamedTuple


class ReportFigures(NamedTuple):
    """One row of the report. parameters: total, trainable. figures: as in the report."""

    experiment: str
    title: str
    parameters: tuple[int, int]
    figures: str
    remark: str = ""


UNREACHABLE = "not reachable on this task without a leak"
REPORT = (
    ReportFigures(
        "report/densenet121", "DenseNet121", (7_038_529, 6_954_881),
        "val loss .338 acc .843 AUC .890; test AUC .894, acc .84; "
        "Normal P .87 R .93 F1 .90; Pneumonia P .72 R .55 F1 .62",
    ),
    ReportFigures(
        "report/chexnet", "DenseNet121 + CheXNet", (7_038_529, 6_954_881),
        "val loss .325 acc .848 AUC .898; test AUC .895, acc .85; Pneumonia P .72 R .55 F1 .63",
    ),
    ReportFigures("report/fcnn", "FCNN", (6_291_713, 6_291_713), "acc .939; R .95 P .94 F1 .95", UNREACHABLE),
    ReportFigures("report/cnn", "CNN", (11_247_457, 11_245_921), "acc .948; R .91 P .98 F1 .94", UNREACHABLE),
    ReportFigures(
        "report/mobilenetv2_transfer", "MobileNetV2, transfer", (2_259_265, 1_281),
        "acc .987; R .98 P .99 F1 .98", UNREACHABLE,
    ),
    ReportFigures(
        "report/mobilenet_augmented", "MobileNet, augmented", (3_229_889, 3_208_001),
        "AUC .490, acc .62; Pneumonia P .21 R .24 F1 .23",
    ),
    ReportFigures(
        "report/mobilenetv2_localization", "MobileNetV2 + localization", (2_341_189, 83_205),
        "class acc .82; 'not able to predict the bounding box correctly'",
    ),
    ReportFigures(
        "report/mobilenet_unet", "MobileNet U-Net", (3_230_849, 3_208_961),
        "on 20 images: acc .60; class 0 P .89 R .53; class 1 P .36 R .80 F1 .50",
    ),
)  # fmt: skip
