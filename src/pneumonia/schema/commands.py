"""The settings of each command. config.py reads command lines into these; commands/table.py names the commands."""

import os
from dataclasses import dataclass

from pneumonia.schema.experiment import Experiment
from pneumonia.schema.setting import MAX_SEED, setting

PRESETS = ("smoke", "quick", "full")
EXECUTORS = ("local", "ray")
FORMATS = ("coco", "yolo", "voc", "csv")  # of boxes
NETWORK_FORMATS = ("onnx", "saved_model", "litert")
SUBJECTS = ("experiments", "ensembles", "models", "transforms", "tta", "fusions", "formats", "commands")
SPLITS = "report (the student report's train / val / test), or a published one: folder of lists, training list or CSV"

Files = str | list[str] | dict[str, str]  # of tables: in order, or by name


@dataclass
class Command:
    """Settings of all commands."""

    json: bool = setting(False, "print one JSON object as the last line of stdout")


@dataclass
class Writing(Command):
    """Settings of the commands that write a file or a folder."""

    out: str = setting("", "folder or file to write, instead of the default one under the repository")


@dataclass
class Data(Command):
    """Settings of all commands that read a competition."""

    data: str = setting("", "competition folder, its zip, RSNA's own release, or 'demo'; default $RSNA_DATA, else demo")
    mapping: str = setting("", "image to person: CSV (patientId, nih_patient) or RSNA's official JSON")
    allow_unmapped: bool = setting(False, "accept a mapping that lacks more than 5 % of the images")
    annotations: str = setting(
        "", "RSNA's adjudicated annotations (JSON), whose labels of the test images score a finished submission"
    )
    test_ids: str = setting("", "list of the final test images, for RSNA's release without Kaggle's sample submission")
    allow_missing: bool = setting(False, "of RSNA's release, leave out labelled images that the archive lacks")
    preset: str = setting(
        "", "size of the computation; default quick on the demo, full on real data", choices=("", *PRESETS)
    )
    workers: int = setting(0, "processes that read DICOMs; 0: one per core", low=0)

    def source(self) -> str:
        """The competition to read: `data`, else $RSNA_DATA, else the demo."""
        return self.data or os.environ.get("RSNA_DATA", "") or "demo"

    def chosen_preset(self) -> str:
        return self.preset or ("quick" if self.source() == "demo" else "full")


@dataclass
class CheckedData(Data):
    """Settings of the commands that check a competition's tables before they use them."""

    clip_boxes: bool = setting(False, "cut boxes to the image instead of refusing them")


@dataclass
class Check(CheckedData):
    pass


@dataclass
class Fetch(Writing):
    """The competition's files, with the token of your Kaggle account."""

    mapping: str = setting("", "image to person, for the check; RSNA has it, Kaggle does not")
    workers: int = setting(0, "processes that read DICOMs for the check; 0: one per core", low=0)


@dataclass
class Ingest(CheckedData, Writing):
    image_size: int = setting(512, "side of the cached squares, in pixels", low=32, high=4096)
    verify: bool = setting(False, "compare a finished cache with its checksums and read damaged images again")


@dataclass
class Folds(CheckedData, Writing):
    n_folds: int = setting(5, "number of folds", low=2)
    seed: int = setting(0, "seed of the split", low=0, high=MAX_SEED)
    holdout: str = setting("", "stage1, or a file of ids: set apart, and their people removed from training")
    split: str = setting("", f"{SPLITS}, instead of folds")
    headers: str = setting("", "table of DICOM headers, for a folder without DICOM files")
    audit: str = setting(
        "", "a fold table (patientId, fold) or a published split to check for leaking people, instead of making one"
    )


@dataclass
class Eda(CheckedData, Writing):
    headers: str = setting("", "table of DICOM headers, for a folder without DICOM files")


@dataclass
class Training(CheckedData, Writing):
    """Settings of the commands that train."""

    fold: str = setting("0", "0 .. n_folds-1, or all")
    n_folds: int = setting(5, "number of folds", low=2)
    folds_seed: int = setting(0, "seed of the folds", low=0, high=MAX_SEED)
    holdout: str = setting("", "stage1, or a file of ids: set apart, predicted, and their people removed from training")
    seed: int = setting(
        0, "seed of every member and of the recipe's search; the folds have folds_seed", low=0, high=MAX_SEED
    )
    split: str = setting("", f"{SPLITS}, instead of the folds; most leak people")
    executor: str = setting(
        "local", "where runs are trained: local (one process per run), or ray (a cluster)", choices=EXECUTORS
    )
    ray_address: str = setting("", "executor=ray: the cluster's address; default: start one on this machine")
    job_threads: int = setting(
        0,
        "threads per run; 0: one per core with a GPU, with Ray and for a single run, else the cores are shared by as "
        "many runs as fit into memory at once",
        low=0,
    )


@dataclass
class Job(Training):
    """The main job."""

    ensemble: str = setting(
        "",
        "experiments/ensembles/NAME.yaml: its members and its starting recipe; default: demo for the demo and for "
        "preset=smoke, cpu for preset=quick, competition for preset=full",
    )
    seeds: int = setting(
        1, "networks per member and fold, with seeds from `seed` on; their predictions are merged into one table", low=1
    )

    def chosen_ensemble(self) -> str:
        of_preset = {"smoke": "demo", "quick": "cpu", "full": "competition"}
        return self.ensemble or ("demo" if self.source() == "demo" else of_preset[self.chosen_preset()])


@dataclass
class Weights(Command):
    """Of one experiment, or of all members of an ensemble."""

    experiment: str = setting("", "experiments/NAME.yaml")
    ensemble: str = setting("", "experiments/ensembles/NAME.yaml")
    preset: str = setting("full", "preset of the experiments", choices=PRESETS)


@dataclass
class Train(Experiment, Training):
    """One experiment: every setting of experiments/ can be overridden."""

    experiment: str = setting("", "experiments/NAME.yaml")
    nih: str = setting("", "folder of NIH ChestX-ray14, for an experiment with model.head=nih")


@dataclass
class TrainRun(Command):
    """One run that the main job or `train` has prepared."""

    run: str = setting("", "the run's folder, with config.yaml and run.json in it")


@dataclass
class Predict(Writing):
    run: str = setting("", "a run's folder, submissions/NAME, or exports/NAME")
    engine: str = setting(
        "auto",
        "what runs the networks: keras, or onnx (ONNX Runtime) for what `export` wrote; auto: by the folder",
        choices=("auto", "keras", "onnx"),
    )
    images: str = setting("", "a folder of DICOM, PNG and JPEG files, recognised by their content, or one file")
    skip_damaged: bool = setting(False, "leave damaged images out and predict the others")
    workers: int = setting(0, "threads that read images; 0: one per core, at most 8", low=0)


@dataclass
class Bootstrap:
    seed: int = setting(0, "seed of the bootstrap and of the search", low=0, high=MAX_SEED)
    draws: int = setting(2000, "bootstrap draws over people; 0: no interval", low=0)


@dataclass
class Ensemble(Bootstrap, Writing):
    members: Files = setting([], "detection tables, a list or {name: file}")
    classifiers: Files = setting([], "class probability tables, a list or {name: file}")
    labels: str = setting("", "label table (stage_2_train_labels.csv)")
    groups: str = setting("", "image to person: CSV (patientId, nih_patient) or RSNA's official JSON")
    allow_unmapped: bool = setting(False, "accept groups= that lacks more than 5 % of the images")
    recipe: str = setting("", "starting recipe; default: the winners' values")
    trials: int = setting(0, "trials of the search; 0: the default budget", low=0)
    seconds: float = setting(0.0, "time for the search; 0: no limit", low=0)
    tune_on: str = setting(
        "", "file of ids, or stage1 (its file in the folder of the labels): fit shrink and threshold on these images"
    )
    test_ids: str = setting(
        "", "list of the final test images, which labels= must not have; default: the sample submission beside labels="
    )
    sample: str = setting("", "sample submission, with the ids and order of the submission")


@dataclass
class Apply(Writing):
    recipe: str = setting("", "recipe.yaml of an ensemble")
    members: Files = setting(
        [], "detection tables, a list or {name: file}; matched by name, else by file name, else by position"
    )
    classifiers: Files = setting([], "class probability tables, likewise")
    sample: str = setting("", "sample submission, with the ids and order of the output")


@dataclass
class Score(Bootstrap, Command):
    submission: str = setting("", "file to score, in any form that members= takes")
    labels: str = setting("", "label table")
    annotations: str = setting(
        "",
        "RSNA's adjudicated annotations (JSON) instead of labels=: the final score, on the competition's test images",
    )
    test_ids: str = setting(
        "", "list of the final test images; default: the sample submission beside annotations=, without it refused"
    )
    groups: str = setting(
        "", "image to person, for the interval; CSV (patientId, nih_patient) or RSNA's JSON, which annotations= needs"
    )
    allow_unmapped: bool = setting(False, "accept groups= that lacks more than 5 % of the images")
    complete: bool = setting(False, "refuse a submission that leaves labelled images out")
    coco: bool = setting(False, "also print COCO's AP and AR, on all images and on those with a true box")


@dataclass
class Validate(Command):
    submission: str = setting("", "file to validate")
    sample: str = setting("", "sample submission, with the ids and order that are required")
    frame: float = setting(1024.0, "width and height of the images, which no box may leave; 0: no such check", low=0)


@dataclass
class Export(Data, Writing):
    """Boxes for other tools: of a submission, of a label table, or predictions with their true boxes. Or the networks
    of a run or an ensemble."""

    submission: str = setting("", "submissions/NAME, its name, or any file of predictions that members= takes")
    labels: str = setting("", "label table; default without submission=: the one in data=")
    run: str = setting("", "a finished run or submissions/NAME: its networks; needs ./run.sh install extra=export")
    format: str = setting(
        "coco", "the format to write; of a network one of the last three", choices=(*FORMATS, *NETWORK_FORMATS)
    )
    folds: str = setting("", "fold table: lists of training and validation images of each fold")
    images: bool = setting(False, "also write the radiographs as PNG; needs data=")


@dataclass
class Bundle(Writing):
    """An ensemble for a machine without internet."""

    submission: str = setting("", "submissions/NAME, or its name")
    wheels: bool = setting(False, "also download the packages, for machines like this one (about 1 GB)")
    installed: str = setting("", "`pip freeze` of that machine: wheels that it has in the same version are left out")


@dataclass
class Submit(Command):
    """A submission to Kaggle, with the token of your account; one counts of the day's few."""

    submission: str = setting("", "submissions/NAME, its name, or a CSV file")
    message: str = setting("", "description at Kaggle; default: the name and the local score")
    sample: str = setting("", "sample submission, with the ids and order that are required")
    wait: float = setting(600.0, "seconds to wait for the score; the same command asks again", low=0)


@dataclass
class View(Data, Writing):
    """A page to look at a submission of the main job, or at any file of predictions with labels= and data=."""

    submission: str = setting("", "submissions/NAME, its name, or any file of predictions that members= takes")
    labels: str = setting("", "label table, for predictions that the main job has not made")
    members: Files = setting([], "with labels=: further predictions of the same images, a list or {name: file}")
    image_size: int = setting(1024, "side of the large pictures, in pixels", low=64, high=4096)


@dataclass
class Leaderboard(Command):
    pass


@dataclass
class Results(Command):
    """The report's table: published figures next to ours."""

    runs: str = setting("", "folder to search for finished runs; default runs/ of the repository")


@dataclass
class Runs(Command):
    """Every run: finished, going, stopped, damaged."""

    runs: str = setting("", "folder to search; default runs/ of the repository")
    verify: bool = setting(False, "also compare the weights of finished runs with their checksums")


@dataclass
class Evaluate(Bootstrap, Writing):
    """Everything about a finished run, or one experiment's runs over several folds."""

    run: str = setting("", "a run's folder, or the experiment's folder with fold0, fold1, ... in it")


@dataclass
class Rerun(Command):
    """A finished run, trained again and compared."""

    run: str = setting("", "a finished run's folder")


@dataclass
class List(Writing):
    """Names that settings take: experiments, models, ..."""

    what: str = setting("", "one subject; default: all", choices=("", *SUBJECTS))
    filter: str = setting("", "pattern of the names: resnet*, *unet*")
