"""`submit` with Kaggle's own client against a server on loopback: sent once, scored, refused, interrupted."""

import json
from pathlib import Path

import pytest
from kaggle_server import TOKEN, kaggle_server
from kagglesdk import kaggle_env

from pneumonia import cli, schema
from pneumonia.commands import submit as submit_command
from pneumonia.commands.ensemble import fit
from pneumonia.commands.leaderboard import leaderboard as leaderboard_command
from pneumonia.ensemble import leaderboard
from pneumonia.system import kaggle

SCORED = {"status": "COMPLETE", "publicScore": "0.11", "privateScore": "0.2153"}


@pytest.fixture
def server(tmp_path, monkeypatch):
    with kaggle_server() as server:
        server.states = [{"status": "PENDING"}, {"status": "PENDING"}, SCORED]
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.address)
        for name, value in (
            ("KAGGLE_API_ENVIRONMENT", "LOCALHOST"), ("KAGGLE_API_TOKEN", TOKEN), ("HOME", str(tmp_path)),
            ("KAGGLE_CONFIG_DIR", str(tmp_path)), ("NO_PROXY", "127.0.0.1"),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(submit_command, "POLL", 0.0)
        yield server


@pytest.fixture
def folder(tmp_path) -> Path:
    """A submission of two images, with its local score."""
    folder = tmp_path / "rsna-default-full-fold0-12345678"
    folder.mkdir()
    (folder / "submission.csv").write_text("patientId,PredictionString\na,0.5 0 0 100 100\nb,\n")
    (folder / "result.json").write_text(json.dumps({"dataset": "rsna-12345678", "held_out_score": 0.2468}))
    return folder


def submit(capsys, submission: Path, *words: str) -> tuple[int, dict, str]:
    code = cli.main(["submit", f"submission={submission}", "json=true", *words])
    captured = capsys.readouterr()
    assert "outdated" not in captured.out  # the clients' own warning
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


def test_a_submission_is_sent_once_and_its_scores_are_kept(server, folder, capsys):
    code, result, said = submit(capsys, folder, "message=by night = by day")
    assert code == 0, said
    assert (result["public_score"], result["private_score"], result["local_score"]) == (0.11, 0.2153, 0.2468)
    assert result["ref"] == 1001 and not result["in_leaderboard"]
    (upload,) = server.uploads.values()
    assert upload["content"] == (folder / "submission.csv").read_bytes() and upload["fileName"] == "submission.csv"
    assert server.submitted[0]["submissionDescription"] == "by night = by day"
    assert server.requests["GetSubmission"] == 3
    code, again, said = submit(capsys, folder)
    assert code == 0 and again == result and "was sent to Kaggle on 20" in said
    assert len(server.submitted) == 1 and server.requests["GetSubmission"] == 3
    (folder / "submission.csv").write_text("patientId,PredictionString\na,\nb,\n")
    code, other, _ = submit(capsys, folder)
    assert code == 0 and other["ref"] == 1002
    assert server.submitted[1]["submissionDescription"] == f"{folder.name}, held-out score 0.2468"


def test_a_file_of_anybody_is_sent_too(server, tmp_path, capsys):
    file = tmp_path / "theirs.csv"
    file.write_text("patientId,PredictionString\na,\n")
    code, result, said = submit(capsys, file)
    assert code == 0 and result["private_score"] == 0.2153 and result["local_score"] is None, said
    assert (tmp_path / "theirs.csv.kaggle.json").is_file()
    assert server.submitted[0]["submissionDescription"] == "theirs"


def test_the_leaderboard_has_kaggle_s_scores_beside_the_local_one(server, prediction_files, capsys, monkeypatch):
    monkeypatch.setattr(leaderboard, "TABLE", prediction_files / "leaderboard.csv")
    settings = schema.Ensemble(
        members=[str(prediction_files / "a.csv")],
        labels=str(prediction_files / "labels.csv"),
        groups=str(prediction_files / "groups.csv"),
        trials=2,
        draws=20,
        out=str(prediction_files / "made"),
    )
    fit(settings)
    assert leaderboard_command(schema.Leaderboard())["submissions"][0]["private_score"] == ""
    code, result, said = submit(capsys, prediction_files / "made")
    assert code == 0 and result["in_leaderboard"], said
    (row,) = leaderboard_command(schema.Leaderboard())["submissions"]
    assert (row["public_score"], row["private_score"]) == ("0.11", "0.2153")
    assert "0.2153" in capsys.readouterr().out
    fit(settings)  # the same once more: the file that was sent
    (row,) = leaderboard_command(schema.Leaderboard())["submissions"]
    assert row["private_score"] == "0.2153"
    (prediction_files / "made" / "submission.csv").write_text("patientId,PredictionString\na,\n")
    assert leaderboard.kaggle_scores(prediction_files / "made") == {}


def test_without_a_score_in_time_the_next_call_waits_on(server, folder, capsys):
    server.states = [{"status": "PENDING"}]
    code, result, said = submit(capsys, folder, "wait=0")
    assert code == 0 and result["private_score"] is None and "the same command asks again" in said
    server.states = [SCORED]
    server.errors["GetSubmission"] = [(503, b"busy")]
    code, result, said = submit(capsys, folder)
    assert code == 0 and result["private_score"] == 0.2153, said
    assert "Kaggle answers 503" in said and len(server.submitted) == 1


def test_what_kaggle_cannot_score_is_told_with_its_reason(server, folder, capsys):
    server.states = [{"status": "ERROR", "errorDescription": "Submission must have 3000 rows"}]
    code, result, _ = submit(capsys, folder)
    assert code == 3 and "Kaggle could not score the submission: Submission must have 3000 rows" in result["error"]


@pytest.mark.parametrize(
    ("request_name", "answer", "says"),
    [
        ("StartSubmissionUpload", (403, {"code": 403, "message": "Forbidden"}), f"rules at {kaggle.PAGE}/rules"),
        ("StartSubmissionUpload", (401, {"code": 401, "message": "Unauthenticated"}), "create another one"),
        ("PUT", (500, b""), "Kaggle answers 500"),
        ("CreateSubmission", (400, {"code": 400, "message": "No submission left today"}), "No submission left today"),
        ("CreateSubmission", (200, {"message": "The file is empty", "ref": 0}), "The file is empty"),
    ],
)
def test_a_refusal_is_one_line_and_the_next_call_sends_it(server, folder, capsys, request_name, answer, says):
    server.errors[request_name] = [answer]
    code, result, said = submit(capsys, folder)
    assert code == 3 and says in result["error"] and said.splitlines()[-1] == f"error: {result['error']}"
    assert not (folder / "kaggle.json").exists()
    code, result, said = submit(capsys, folder)
    assert code == 0 and len(server.submitted) == 1, said


def test_nothing_is_sent_that_kaggle_would_refuse(server, folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "sample.csv").write_text("patientId,PredictionString\na,0.5 0 0 100 100\nc,0.5 0 0 100 100\n")
    code, result, _ = submit(capsys, folder, f"sample={tmp_path / 'sample.csv'}")
    assert code == 2 and {fault["code"] for fault in result["error"]} == {"unknown-id", "missing-id"}
    (folder / "result.json").write_text(json.dumps({"dataset": "demo-12345678", "held_out_score": 0.9}))
    code, result, _ = submit(capsys, folder)
    assert code == 2 and "is of the synthetic demo" in result["error"][0]["what"]
    code, result, _ = submit(capsys, tmp_path / "nowhere")
    assert code == 2 and "there is no submission" in result["error"][0]["what"]
    assert not server.requests
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    (folder / "result.json").unlink()
    code, result, _ = submit(capsys, folder)
    assert code == 3 and "no Kaggle token" in result["error"] and not server.requests
