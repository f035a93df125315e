"""`./run.sh list`, and docs/commands.md, which is made by it."""

import json

import pytest

from pneumonia import cli, config, schema
from pneumonia.boxes.fusion import METHODS
from pneumonia.commands.list_names import page_of_commands
from pneumonia.data.augment import TRANSFORMS
from pneumonia.schema.commands import SUBJECTS


def listed(capsys, *words):
    assert cli.main(["list", *words, "json=true"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def names(rows):
    return [row["name"] for row in rows]


def test_everything_that_has_a_name_is_listed(capsys):
    everything = listed(capsys)
    assert list(everything) == list(SUBJECTS)
    assert names(everything["experiments"]) == config.experiment_names()
    assert names(everything["models"]) == schema.model_names()
    assert set(TRANSFORMS) <= set(names(everything["transforms"]))
    assert set(METHODS) <= set(names(everything["fusions"]))
    assert names(everything["commands"]) == list(cli.COMMANDS)
    assert names(everything["ensembles"]) == ["competition", "cpu", "demo", "small"]
    for rows in everything.values():
        assert all(row["about"] for row in rows), rows


def test_a_filter_is_a_pattern(capsys):
    found = listed(capsys, "what=models", "filter=resnet*")
    assert names(found["models"]) == ["resnet101", "resnet101v2", "resnet152", "resnet152v2", "resnet50", "resnet50v2"]
    assert set(names(listed(capsys, "filter=*unet*")["experiments"])) == {
        "mobilenet_unet", "report/mobilenet_unet", "segmentation_unet", "unet_lite0"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "says"),
    [("what=model", "did you mean 'models'?"), ("filter=resnext*", "no name matches 'resnext*'; try *part*")],
)
def test_what_there_is_not_is_one_line(capsys, word, says):
    assert cli.main(["list", word]) == 2
    line = capsys.readouterr().err
    assert says in line and line.count("\n") == 1


def test_the_page_of_commands_is_fresh():
    """Stale: ./run.sh list what=commands out=docs/commands.md."""
    assert (config.REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8") == page_of_commands()


def test_the_page_has_every_setting_with_its_default():
    page = page_of_commands()
    for row in (
        "| `image_size` | a whole number | `512` | 32 to 4096 |",
        "| `ema` | a number | `0.998` | 0 or more and below 1 |",
        "| `model.encoder` | text | `mobilenetv2` | mobilenet, mobilenetv2,",
        "| `inner_val_fraction` | a number | `0.05` |",
    ):
        assert row in page
