"""What a run amounts to, by hand on runs of a few epochs."""

import json

import pytest

from tfsc.reporting.energy import Usage
from tfsc.reporting.summary import summarize, transition_epochs

_NO_TIME = {
    "timed_seconds": 0.0,
    "timed_images": 0,
    "train_seconds": 0.0,
    "evaluation_seconds": 0.0,
    "total_seconds": 0.0,
}


def _row(epoch, val_accuracy, val_loss=0.3):
    return {
        "epoch": epoch,
        "step": 781 * epoch,
        "learning_rate": 1e-3,
        "train_loss": 0.1,
        "train_accuracy": 0.95,
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "train_seconds": 100.0,
        "images_per_second": 499.0,
    }


def _history(*accuracies):
    return [_row(number, accuracy) for number, accuracy in enumerate(accuracies, 1)]


def _summary(history, threshold=0.92, clock=_NO_TIME, gpus=None):
    return summarize(history, "done", threshold, clock, gpus or Usage())


# --- transition epochs --------------------------------------------------------------------------


def test_transition_epochs_are_the_first_to_reach_each_level_of_seed_001():
    # 0.9249 after 0.9252: only the first crossing counts; 0.927 exactly is reached.
    history = _history(0.5, 0.9199, 0.9252, 0.9249, 0.927, 0.9285)
    assert transition_epochs(history, 0.92) == {
        "0.91": 2,
        "0.92": 3,
        "0.925": 3,
        "0.927": 5,
        "0.928": 6,
        "0.93": None,
    }


def test_the_recipes_own_threshold_is_a_level_too():
    epochs = transition_epochs(_history(0.5, 0.85, 0.95), 0.8)
    assert list(epochs) == ["0.8", "0.91", "0.92", "0.925", "0.927", "0.928", "0.93"]
    assert epochs["0.8"] == 2
    assert epochs["0.91"] == 3


def test_a_threshold_close_to_a_level_does_not_take_its_place():
    epochs = transition_epochs(_history(0.92, 0.9200001, 0.9200004), 0.9200004)
    assert epochs["0.92"] == 1
    assert epochs["0.9200004"] == 3


def test_no_epoch_reaches_no_level():
    assert set(transition_epochs([], 0.92).values()) == {None}


# --- summary ------------------------------------------------------------------------------------


def test_first_final_and_best_are_the_numbers_of_their_rows_without_timings():
    history = _history(0.4, 0.93, 0.91)
    summary = _summary(history)
    for name, row in zip(("first", "best", "final"), history, strict=True):
        timeless = dict(row)
        del timeless["train_seconds"], timeless["images_per_second"]
        assert summary[name] == timeless
    assert summary["epochs"] == 3


def test_best_is_the_first_of_equals():
    assert _summary(_history(0.4, 0.93, 0.93, 0.92))["best"]["epoch"] == 2


def test_best_is_by_validation_accuracy_not_by_loss():
    summary = _summary([_row(1, 0.92, val_loss=0.2), _row(2, 0.93, val_loss=0.4)])
    assert summary["best"]["epoch"] == 2


def test_val_loss_max_is_the_largest_fluctuation_with_its_epoch():
    history = [_row(1, 0.4, 1.6), _row(2, 0.3, 4.2), _row(3, 0.9, 0.3)]
    assert _summary(history)["val_loss_max"] == {"epoch": 2, "val_loss": 4.2}


@pytest.mark.parametrize(("best", "reached"), [(0.9199, False), (0.92, True), (0.9201, True)])
def test_the_threshold_is_reached_by_the_best_epoch(best, reached):
    summary = _summary(_history(0.5, best, 0.6))
    assert summary["reached_threshold"] is reached
    assert summary["threshold"] == 0.92
    assert summary["transition_epochs"]["0.92"] == (2 if reached else None)


def test_averaged_weights_keep_their_columns_apart():
    history = [
        _row(1, 0.5) | {"ema_val_accuracy": 0.9, "ema_val_loss": 0.2},
        _row(2, 0.6) | {"ema_val_accuracy": 0.8, "ema_val_loss": 0.3},
    ]
    summary = _summary(history)
    assert summary["best"]["val_accuracy"] == 0.6
    assert summary["best"]["ema_val_accuracy"] == 0.8


def test_speed_is_images_over_timed_seconds():
    clock = _NO_TIME | {
        "timed_seconds": 20.0,
        "timed_images": 12345,
        "train_seconds": 25.04,
        "evaluation_seconds": 3.06,
        "total_seconds": 31.0,
    }
    summary = _summary(_history(0.5), clock=clock)
    assert summary["images_per_second"] == 617.2
    seconds = {"train": 25.0, "compilation": 5.0, "evaluation": 3.1, "total": 31.0}
    assert summary["seconds"] == seconds


def test_speed_is_null_without_timing():
    summary = _summary(_history(0.5))
    assert summary["images_per_second"] is None
    assert '"images_per_second": null' in json.dumps(summary)


def test_joules_and_utilisation_are_those_of_the_gpus():
    summary = _summary(_history(0.5), gpus=Usage(joules=12345.67, busy_seconds=45.0, seconds=60.0))
    assert (summary["joules"], summary["gpu_utilization"]) == (12345.7, 0.75)


def test_what_was_not_measured_is_null_and_not_zero():
    summary = json.loads(json.dumps(_summary(_history(0.5))))
    assert summary["joules"] is None
    assert summary["gpu_utilization"] is None


def test_a_run_without_a_finished_epoch_has_a_status_and_no_results():
    summary = summarize([], "diverged", 0.92, _NO_TIME, Usage())
    assert summary["status"] == "diverged"
    assert summary["epochs"] == 0
    assert not {"first", "final", "best", "transition_epochs", "reached_threshold"} & set(summary)


def test_peak_memory_is_that_of_this_process_in_mib():
    # Python with pytest takes some tens of MiB: an error of 1024 would show.
    assert 10 < _summary([])["peak_memory_mib"] < 100_000
