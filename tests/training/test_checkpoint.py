import keras
import numpy as np
import pytest

from pneumonia.errors import BadSurroundings
from pneumonia.training import checkpoint


def variables(value):
    return [keras.Variable(np.full(shape, value, dtype)) for shape, dtype in [((2, 3), "float32"), ((), "int64")]]


def values(of):
    return [np.asarray(v.value).tolist() for v in of]


def restored(folder, into):
    done, path = checkpoint.newest_sound(folder)
    checkpoint.restore(path, into)
    return done


def test_the_newest_checkpoint_comes_back(tmp_path):
    for epoch in (1, 2, 3):
        checkpoint.write_checkpoint(tmp_path, epoch, variables(epoch))
    back = variables(0)
    assert restored(tmp_path, back) == 3
    assert values(back) == values(variables(3))
    assert len(list(tmp_path.iterdir())) == checkpoint.KEPT


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
    assert checkpoint.newest_sound(tmp_path) == (0, None)


def test_weights_of_another_model_or_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    checksum = checkpoint.write_weights(path, variables(1))
    with pytest.raises(BadSurroundings, match="another model"):
        checkpoint.read_weights(path, variables(0)[:1], checksum)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(BadSurroundings, match="damaged"):
        checkpoint.read_weights(path, variables(0), checksum)
    with pytest.raises(BadSurroundings, match="cannot be read"):
        checkpoint.read_weights(tmp_path / "none", variables(0))
