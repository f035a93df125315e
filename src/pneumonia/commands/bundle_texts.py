"""The README and the notebook of a bundle."""

README = """# {name}

An ensemble that finds pneumonia on chest radiographs, with all that it needs to predict without internet.{score}
Research code, **not a medical device**: nothing here may be used to diagnose anybody.

    sha256sum --quiet -c SHA256SUMS
    python -m pip install --no-index --no-deps --find-links wheels -r requirements-wheels.txt   # where wheels/ is there
    PYTHONPATH=src python -P -m pneumonia predict run=submissions/{name} images=DIR out=submission.csv

`images` is a folder of DICOM, PNG and JPEG files, or one of them. `predict.ipynb` does the same in a notebook.
Python {python} was used here; requirements.txt has the packages in the versions with which the results are the same
bits. A machine with other versions predicts too, with other last digits.

| file | what it is |
|---|---|
| `submissions/{name}/` | the recipe: how the members are combined |
| `runs/` | each member's settings and weights |
| `src/` | the program |
| `requirements.txt` | what prediction needs |
| `SHA256SUMS` | checksums of all files but the notebook |
"""

CELLS = (
    "# {name}\n\nPredicts a folder of radiographs with this ensemble, without internet, and writes `submission.csv`. "
    "Not a medical device.",
    """import hashlib
import os
import subprocess
import sys
from pathlib import Path

# The unpacked bundle (on Kaggle /kaggle/input/NAME), the radiographs (DICOM, PNG or JPEG), and the file to write.
BUNDLE = Path(os.environ.get("BUNDLE", ".")).resolve()
IMAGES = Path(os.environ.get("IMAGES", "images"))
SUBMISSION = Path(os.environ.get("SUBMISSION", "submission.csv"))""",
    """for line in (BUNDLE / "SHA256SUMS").read_text().splitlines():
    checksum, _, file = line.partition("  ")
    if hashlib.sha256((BUNDLE / file).read_bytes()).hexdigest() != checksum:
        raise SystemExit(f"{file} is damaged: copy the bundle again")""",
    """if (BUNDLE / "wheels").is_dir():
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    wheels = ["--find-links", str(BUNDLE / "wheels"), "-r", str(BUNDLE / "requirements-wheels.txt")]
    subprocess.run([*pip, *wheels], check=True)""",
    """words = [f"run={BUNDLE / 'submissions' / '{name}'}", f"images={IMAGES}", f"out={SUBMISSION}"]
command = [sys.executable, "-P", "-m", "pneumonia", "predict", *words]
environment = os.environ | {"PYTHONPATH": str(BUNDLE / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(done.stdout)
done.check_returncode()""",
    "print(SUBMISSION.read_text()[:600])",
)


def readme(facts: dict) -> str:
    """The text of README.md. facts: name, python (its version), score (held out, or None)."""
    score = "" if facts["score"] is None else f"\nIts held-out score is {facts['score']:.4f} (mean IoU-mAP)."
    return README.format(name=facts["name"], python=facts["python"], score=score)


def notebook(facts: dict) -> dict:
    """The notebook as JSON (nbformat 4.5): a title, then code cells that need only Python."""
    cells = []
    for number, text in enumerate(CELLS):
        source = text.replace("{name}", facts["name"]).splitlines(keepends=True)
        cell = {"id": f"cell-{number}", "metadata": {}, "source": source}
        code = {"cell_type": "code", "execution_count": None, "outputs": []}
        cells.append(cell | (code if number else {"cell_type": "markdown"}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python", "version": facts["python"]}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
