"""`./run.sh fetch`: downloads the competition from Kaggle, and checks it."""

from pneumonia import config, schema
from pneumonia.commands.check import check
from pneumonia.data.formats.registry import FORMATS
from pneumonia.system import kaggle
from pneumonia.system.errors import bad_input
from pneumonia.system.progress import say


def fetch(settings: schema.Fetch) -> dict:
    """Download where the folder is not there yet, then check as `check` does.

    Returns:
        folder, and the JSON of `check`.

    Raises:
        BadInput: the folder has other files.
        EnvironmentFailure: no token, rules not accepted, no connection, a full disk.
    """
    folder = config.user_path(settings.out) if settings.out else config.REPOSITORY / "data" / kaggle.COMPETITION
    if folder.exists() and not folder.is_dir():
        raise bad_input(folder, "is not a folder", "choose another out=")
    if not folder.is_dir() or not any(folder.iterdir()):
        folder = kaggle.download_competition(folder)
    elif any(kind.matches(folder) for kind in FORMATS.values()):
        say(f"{folder}: is there already, and is only checked; remove it to download it again")
    else:
        raise bad_input(folder, "has other files", "choose an empty or a new folder as out=")
    result = check(schema.Check(data=str(folder), mapping=settings.mapping, workers=settings.workers))
    if not result["faults"]:
        print(f"next: ./run.sh fold=0 data={folder} mapping=FILE (RSNA's page has the mapping, Kaggle does not)")
    return {"folder": folder, **result}
