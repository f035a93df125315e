"""Kaggle's API by its own clients (kagglehub, kagglesdk): download a competition, send a submission, read its score.

The token of the account is where Kaggle has it: $KAGGLE_API_TOKEN, ~/.kaggle/access_token, ~/.kaggle/kaggle.json.
"""

import contextlib
import logging
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.files import exclusive_lock
from pneumonia.system.progress import SECONDS_BETWEEN_LINES, say

COMPETITION = "rsna-pneumonia-detection-challenge"
PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"
TOKEN_PAGE = "https://www.kaggle.com/settings"
TRIES = 5  # of a download that gets nothing more
WAIT = 2.0  # seconds before the second try; doubled for each further one
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may be gone at the next try


class TemporaryFailure(EnvironmentFailure):
    """The connection broke, or the server was busy: trying again may help."""


def download_competition(folder: Path) -> Path:
    """Download the competition's files and unpack them as `folder`, which appears whole or not at all.

    What an interrupted download has got is kept in a hidden folder beside it, and the next call continues there. A
    connection that breaks is tried again as long as something arrives, and then `TRIES` times.

    Args:
        folder: does not exist, or is empty.

    Returns:
        `folder`; in a Kaggle notebook the folder where Kaggle has mounted the files.

    Raises:
        EnvironmentFailure: no token or rules not accepted (with the page to visit), no connection, a full disk.
    """
    cache = folder.with_name(f".{folder.name}.download")
    archive = cache / "competitions" / f"{COMPETITION}.archive"
    with exclusive_lock(cache / "lock", f"the download of {folder.name}"):
        try:
            with kagglehub_in(cache):
                files = retry_download(archive)
                if files.is_relative_to(cache):
                    return files.replace(folder)
                say(f"{files}: Kaggle has mounted the competition here, nothing is downloaded")
                return files
        finally:
            if not downloaded(archive):  # nothing to continue from
                shutil.rmtree(cache, ignore_errors=True)


def retry_download(archive: Path) -> Path:
    """Call kagglehub until the files are there; returns their folder."""
    import kagglehub

    tries, size = 0, downloaded(archive)
    while True:
        try:
            with explained_errors(archive):
                return Path(kagglehub.competition_download(COMPETITION))
        except TemporaryFailure as error:
            before, size = size, downloaded(archive)
            tries = 0 if size > before else tries + 1
            if tries >= TRIES:
                raise EnvironmentFailure(f"{error}; {size / 1e6:.0f} MB are kept: the same command continues") from None
            say(f"{error}; {size / 1e6:.0f} MB have arrived, trying again")
            time.sleep(WAIT * 2**tries)


def downloaded(archive: Path) -> int:
    return archive.stat().st_size if archive.is_file() else 0


@contextlib.contextmanager
def kagglehub_in(cache: Path) -> Iterator[None]:
    """kagglehub downloads to `cache`, and writes to stderr: a bar on a terminal, else lines."""
    import kagglehub.clients

    kagglehub.clients.already_printed_version_warning = True  # a line on stdout, where the JSON is
    bar, before = kagglehub.clients.tqdm, os.environ.get("KAGGLEHUB_CACHE")
    logger = logging.getLogger("kagglehub")
    level = logger.level
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    logger.setLevel(logging.WARNING)
    if not sys.stderr.isatty():
        kagglehub.clients.tqdm = ProgressLines
    try:
        yield
    finally:
        kagglehub.clients.tqdm = bar
        logger.setLevel(level)
        os.environ.pop("KAGGLEHUB_CACHE")
        if before is not None:
            os.environ["KAGGLEHUB_CACHE"] = before


class ProgressLines:
    """In place of tqdm's bar: a line at most every 15 s."""

    def __init__(self, total: int, initial: int = 0, **_: object):
        self.total, self.count, self.last = total, initial, time.monotonic()

    def __enter__(self) -> "ProgressLines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int) -> None:
        self.count += count
        if time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            say(f"downloading: {self.count / 1e6:.0f} of {self.total / 1e6:.0f} MB")


# ------------------------------------------------------------------ submissions


def send_submission(file: Path, message: str) -> int:
    """Upload a submission and return its number at Kaggle. Raises EnvironmentFailure."""
    import requests
    from kagglesdk.competitions.types.competition_api_service import (
        ApiCreateSubmissionRequest,
        ApiStartSubmissionUploadRequest,
    )

    upload = ApiStartSubmissionUploadRequest()
    upload.competition_name, upload.file_name = COMPETITION, file.name
    upload.content_length = file.stat().st_size
    upload.last_modified_epoch_seconds = int(file.stat().st_mtime)
    with competition_client() as client:
        place = client.start_submission_upload(upload)
        response = requests.put(place.create_url, data=file.read_bytes(), timeout=(10, 120))
        response.raise_for_status()
        submission = ApiCreateSubmissionRequest()
        submission.competition_name, submission.blob_file_tokens = COMPETITION, place.token
        submission.submission_description = message
        answer = client.create_submission(submission)
    if not answer.ref:
        raise EnvironmentFailure(f"Kaggle did not accept the submission: {answer.message or 'no reason given'}")
    return answer.ref


def submission_score(ref: int) -> dict | None:
    """The scores {public_score, private_score} of a submission (None where Kaggle shows none); None while it is scored.

    Raises:
        TemporaryFailure: no connection, or the server is busy.
        EnvironmentFailure: Kaggle could not score it (with its reason).
    """
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest
    from kagglesdk.competitions.types.submission_status import SubmissionStatus

    request = ApiGetSubmissionRequest()
    request.ref = ref
    with competition_client() as client:
        submission = client.get_submission(request)
    if submission.status == SubmissionStatus.ERROR:
        reason = submission.error_description or "no reason given"
        raise EnvironmentFailure(f"Kaggle could not score the submission: {reason}; see {PAGE}/submissions")
    if submission.status == SubmissionStatus.PENDING:
        return None
    texts = {"public_score": submission.public_score, "private_score": submission.private_score}
    return {name: float(text) if text else None for name, text in texts.items()}


@contextlib.contextmanager
def competition_client() -> Iterator:
    """Kaggle's client for competitions, signed in. Raises EnvironmentFailure for its errors."""
    import kagglehub.clients
    from kagglehub.clients import build_kaggle_client
    from kagglehub.config import get_kaggle_credentials
    from kagglehub.exceptions import UnauthenticatedError

    kagglehub.clients.already_printed_version_warning = True  # a line on stdout, where the JSON is
    with explained_errors():
        if not get_kaggle_credentials():
            raise UnauthenticatedError()
        with build_kaggle_client() as client:
            yield client.competitions.competition_api_client


# ------------------------------------------------------------------ errors


@contextlib.contextmanager
def explained_errors(archive: Path | None = None) -> Iterator[None]:
    """Turn the clients' errors into one line with what to do.

    Args:
        archive: a download, removed where it is damaged.

    Raises:
        TemporaryFailure, EnvironmentFailure.
    """
    import requests
    from kagglehub.exceptions import DataCorruptionError, UnauthenticatedError

    try:
        yield
    except UnauthenticatedError as error:
        what = f"no Kaggle token: create one at {TOKEN_PAGE} (API), and save it as ~/.kaggle/access_token"
        raise EnvironmentFailure(what) from error
    except requests.HTTPError as error:
        raise http_failure(error) from error
    except requests.RequestException as error:  # a refused or broken connection, a timeout
        raise TemporaryFailure(f"the connection to Kaggle failed ({type(error).__name__})") from error
    except (DataCorruptionError, zipfile.BadZipFile) as error:
        if archive:
            archive.unlink(missing_ok=True)
        raise TemporaryFailure("the download was damaged and is removed") from error
    except ValueError as error:
        if archive is None or not downloaded(archive):
            raise EnvironmentFailure(f"Kaggle: {error}; tokens are made at {TOKEN_PAGE}") from error
        archive.unlink()
        raise TemporaryFailure("the download is not an archive and is removed") from error
    except OSError as error:
        where = archive.parent if archive else "Kaggle"
        raise EnvironmentFailure(f"{where}: {error.strerror or error}; free space or choose out=") from error


def http_failure(error) -> EnvironmentFailure:
    """The failure that a requests.HTTPError stands for."""
    response = error.response
    status = response.status_code
    if status in TEMPORARY or response.history:  # after a redirection to the store, whose addresses expire
        return TemporaryFailure(f"Kaggle answers {status}")
    if status == 401:
        return EnvironmentFailure(f"Kaggle does not accept the token: create another one at {TOKEN_PAGE} (API)")
    if status == 403:
        return EnvironmentFailure(f"Kaggle does not give access: accept the competition's rules at {PAGE}/rules")
    reason = server_message(response) or response.reason or "no reason given"
    return EnvironmentFailure(f"Kaggle answers {status}: {reason}; see {PAGE}")


def server_message(response) -> str:
    """The message in a JSON answer, on one line; "" without one."""
    with contextlib.suppress(ValueError):
        answer = response.json()
        if isinstance(answer, dict):
            return " ".join(str(answer.get("message") or answer.get("error") or "").split())[:300]
    return ""
