"""What the inner split decides, as a function of the history alone."""

import pytest

from pneumonia import schema
from pneumonia.schema import from_tree
from pneumonia.schema.relations import check_stopping
from pneumonia.system.errors import BadInput
from pneumonia.training.stopping import best_epoch, plateau_rate, should_stop


def history(*losses):
    return [{"epoch": epoch, "inner_loss": loss} for epoch, loss in enumerate(losses, 1)]


def test_the_best_epoch_is_the_first_of_equals():
    assert best_epoch([]) == 0
    assert best_epoch(history(3, 1, 2, 1)) == 2


def test_training_stops_after_so_many_epochs_without_a_better_loss():
    assert not should_stop(history(3, 2, 2.5), patience=2)
    assert should_stop(history(3, 2, 2.5, 2.1), patience=2)
    assert not should_stop(history(3, 2, 2.5, 1.9), patience=2)
    assert not should_stop(history(*[1.0] * 50), patience=0)


def test_a_gain_too_small_to_matter_is_none():
    assert should_stop(history(1.0, 0.99999, 0.99998), patience=2)


def test_the_rate_falls_on_every_plateau_and_not_below_the_last():
    schedule = schema.Schedule(name="plateau", factor=0.5, patience=2, final=0.2)
    rates = [plateau_rate(history(*[3, 2, 2, 2, 2, 2, 2, 2, 2][:epochs]), 1.0, schedule) for epochs in range(10)]
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]


def test_a_better_loss_starts_the_wait_anew():
    schedule = schema.Schedule(name="plateau", factor=0.5, patience=2, final=0.0)
    assert plateau_rate(history(3, 3, 2, 3, 1, 3), 1.0, schedule) == 1.0


@pytest.mark.parametrize("settings", [{"keep": "best"}, {"patience": 3}, {"schedule": schema.Schedule("plateau")}])
def test_deciding_without_an_inner_split_is_refused(settings):
    experiment = schema.Experiment(**settings)
    check_stopping(experiment, has_inner=True)
    with pytest.raises(BadInput, match="inner_val_fraction"):
        check_stopping(experiment, has_inner=False)


def test_what_is_kept_is_last_or_best():
    with pytest.raises(BadInput, match="last, best"):
        from_tree(schema.Experiment, {"keep": "first"}, "FILE")
