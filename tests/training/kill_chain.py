"""A run that kill -9 ends again and again, each time at another instant: a program for test_kill.

    python kill_chain.py FOLDER name=value…

trains FOLDER/whole without a kill and FOLDER/killed with one at each instant, both by the recipe
that the settings describe. Each start is a process of its own, forked after the imports and before
TensorFlow starts: that saves seconds. Prints a JSON object: instant → exit status, and where that
start went on.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import keras

from tfsc import files
from tfsc.recipe import Recipe
from tfsc.runs.run_directory import RunDirectory
from tfsc.training import run as run_module
from tfsc.training.callbacks import StopOnSignal


def die(*_arguments, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


def call_until(owner, name, condition, then=die):
    """Replace a function by one that, once `condition` holds for its arguments, calls `then`."""
    real = getattr(owner, name)

    def replacement(*arguments, **keywords):
        if condition(*arguments):
            then(real, *arguments, **keywords)
        return real(*arguments, **keywords)

    setattr(owner, name, replacement)


def afterwards(real, *arguments, **keywords):
    real(*arguments, **keywords)
    die()


def inside_a_step():
    # The step that begins here takes tens of milliseconds.
    def begin(self, batch, logs=None):
        if self.model.steps.numpy() == 5:
            threading.Timer(0.003, die).start()

    StopOnSignal.on_train_batch_begin = begin


def inside_a_checkpoint_write():
    def half(real, path):
        file = real(path)
        write = file.write

        def write_half(data):
            write(data[: len(data) // 2])
            file.flush()
            die()

        file.write = write_half
        return file

    real = files._created
    files._created = lambda path: half(real, path) if path.name.endswith("npz.tmp") else real(path)


def between_rename_and_fsync():
    call_until(files, "sync_directory", lambda folder: any(folder.glob("step-00000008-*.npz")))


def between_arrays_and_record():
    call_until(files, "write_text", lambda path, _: path.name == "step-00000008.json")


def between_checkpoint_and_tables():
    call_until(RunDirectory, "write_metrics", lambda self, history: len(history) == 2)


def inside_the_pruning_of_checkpoints():
    call_until(Path, "unlink", lambda path, *_: path.suffix == ".npz", afterwards)


def inside_the_export():
    # The SavedModel is whole, the .keras file begins.
    call_until(keras.Model, "save", lambda *_: True)


def after_the_export():
    call_until(run_module, "write_export", lambda *_: True, afterwards)


INSTANTS = {
    "inside a step": inside_a_step,
    "inside a checkpoint write": inside_a_checkpoint_write,
    "between rename and fsync of a checkpoint": between_rename_and_fsync,
    "between a checkpoint's arrays and its record": between_arrays_and_record,
    "between the checkpoint and metrics.csv": between_checkpoint_and_tables,
    "while old checkpoints are removed": inside_the_pruning_of_checkpoints,
    "inside the export": inside_the_export,
    "between the export and summary.json": after_the_export,
}


def start(recipe, prepare=None):
    """Train in a process of its own; return its exit status (−9 for kill -9)."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if prepare:
                prepare()
            run_module.run(recipe)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def log_lines(run_dir):
    path = run_dir / "train.log"
    return [line[20:] for line in path.read_text().splitlines()] if path.exists() else []


def attempt(recipe, prepare=None):
    """Exit status of a start, and where it went on."""
    run_dir = Path(recipe.run_dir)
    before = len(log_lines(run_dir))
    status = start(recipe, prepare)
    resumed = [line for line in log_lines(run_dir)[before:] if line.startswith("resuming after")]
    return {"status": status, "went on": resumed[0] if resumed else "from the beginning"}


def main():
    folder, *changes = sys.argv[1:]
    values = dict(change.split("=", 1) for change in changes)
    text = Recipe().flagfile() + "".join(f"--{name}={values[name]}\n" for name in values)
    recipe = Recipe.from_flagfile(text)
    assert start(recipe.replace(run_dir=f"{folder}/whole")) == 0
    recipe = recipe.replace(run_dir=f"{folder}/killed")
    happened = {instant: attempt(recipe, prepare) for instant, prepare in INSTANTS.items()}
    happened["never"] = attempt(recipe)
    print(json.dumps(happened), flush=True)


if __name__ == "__main__":
    main()
