import keras
import numpy as np
import pytest

from pneumonia.runs import checkpoint
from pneumonia.system.errors import EnvironmentFailure


def variables(value):
    return [keras.Variable(np.full(shape, value, dtype)) for shape, dtype in [((2, 3), "float32"), ((), "int64")]]


def values(of):
    return [np.asarray(v.value).tolist() for v in of]


def restored(folder, into):
    done, path = checkpoint.newest_valid(folder)
    checkpoint.restore(path, into)
    return done


def test_the_newest_checkpoint_comes_back(tmp_path):
    for epoch in (1, 2, 3):
        checkpoint.write_checkpoint(tmp_path, epoch, variables(epoch))
    back = variables(0)
    assert restored(tmp_path, back) == 3
    assert values(back) == values(variables(3))
    assert len(list(tmp_path.iterdir())) == checkpoint.MAX_CHECKPOINTS


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_used(tmp_path, capsys):
    checkpoint.write_checkpoint(tmp_path, 1, variables(1))
    newest = checkpoint.write_checkpoint(tmp_path, 2, variables(2))
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    back = variables(0)
    assert restored(tmp_path, back) == 1
    assert values(back) == values(variables(1))
    assert "damaged" in capsys.readouterr().err


def test_nothing_to_restore_is_epoch_0(tmp_path):
    assert checkpoint.newest_valid(tmp_path) == (0, None)


def test_a_checkpoint_that_cannot_be_read_is_passed_over(tmp_path, capsys):
    checkpoint.write_checkpoint(tmp_path, 1, variables(1))
    (tmp_path / "epoch-00002-0123456789abcdef.safetensors").mkdir()
    assert restored(tmp_path, variables(0)) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_checkpoint_holds_its_history(tmp_path):
    history = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-300}]
    path = checkpoint.write_checkpoint(tmp_path, 2, variables(2), history)
    assert checkpoint.read_history(path) == history and checkpoint.read_history(None) == []


@pytest.mark.parametrize("damage", [lambda content: content[:-3], lambda content: content[:-1] + b"\xff"])
def test_damaged_weights_are_noticed_without_anybody_naming_a_checksum(tmp_path, damage):
    path = tmp_path / "weights.safetensors"
    checkpoint.write_weights(path, variables(1))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EnvironmentFailure, match="is damaged"):
        checkpoint.read_weights(path, variables(0))


def test_weights_of_another_model_or_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    checksum = checkpoint.write_weights(path, variables(1))
    with pytest.raises(EnvironmentFailure, match="another model"):
        checkpoint.read_weights(path, variables(0)[:1], checksum)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(EnvironmentFailure, match="damaged"):
        checkpoint.read_weights(path, variables(0), checksum)
    with pytest.raises(EnvironmentFailure, match="cannot be read"):
        checkpoint.read_weights(tmp_path / "none", variables(0))
