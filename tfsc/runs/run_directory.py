"""`RunDirectory`: the record of one run, its files and who may write them."""

import fcntl
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tfsc import files
from tfsc.errors import RecipeError, RunDirectoryError
from tfsc.recipe import Recipe, old_spelling

if TYPE_CHECKING:  # it imports scikit-learn, which takes a second
    from tfsc.data.split import Split


class RunDirectory:
    """The directory of one run; a context that holds its lock.

        recipe.flags      replays the run by --flagfile=
        provenance.json   versions, device, commit, command, one entry a start
        split/            indices of training and validation examples (.npy)
        metrics.csv       a row an epoch
        steps.csv         a row a step
        summary.json      final, best, transition epochs, speed, status
        train.log         a line an epoch
        events/           TensorBoard
        checkpoints/      see tfsc.training.checkpoint
        export/           SavedModel and .keras
        curves.png        accuracy, loss and learning rate

    Nothing is written outside of it: a symbolic link among its files is refused. (The directory
    itself may be one.)

    Raises:
        RunDirectoryError: on entry, if it belongs to another recipe, another process is running in
            it, it holds links, or it cannot be written.
    """

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.path = run_path(recipe)

    def __enter__(self) -> "RunDirectory":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_links()
            self._lock = (self.path / ".lock").open("a")
        except OSError as error:
            raise RunDirectoryError(f"--run_dir={self.path}: cannot be written: {error}") from None
        try:
            # The kernel drops the lock when its holder dies: it is never stale.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise RunDirectoryError(
                f"--run_dir={self.path}: another process is running in it"
            ) from None
        try:
            self._claim()
            self._remove_leftovers()
        except OSError as error:
            self._lock.close()
            raise RunDirectoryError(f"--run_dir={self.path}: cannot be written: {error}") from None
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_):
        self._lock.close()

    def _claim(self) -> None:
        """Write the recipe into a new directory, or check that an old one has the same."""
        if not self.recipe_path.exists():
            if any(path.name not in (".lock", ".recipe.flags.tmp") for path in self.path.iterdir()):
                raise RunDirectoryError(
                    f"--run_dir={self.path}: holds other files and no recipe.flags; name a new "
                    "directory"
                )
            header = "# Replay: python -m tfsc.train --flagfile=<this file> --run_dir=<new>\n"
            files.write_text(self.recipe_path, header + self.recipe.flagfile())
            return
        try:
            before = read_recipe(self.path)
        except RecipeError as error:
            raise RunDirectoryError(f"{self.recipe_path}: {error}") from None
        if differences := before.differences(self.recipe):
            raise RunDirectoryError(
                f"--run_dir={self.path}: holds a run of another recipe; name another directory. "
                "Its value and yours: " + "; ".join(differences)
            )

    def _refuse_links(self) -> None:
        """A run directory from elsewhere must not make this one's files land somewhere else."""
        for folder in (self.path, self.path / "split", self.events, self.checkpoints):
            for entry in os.scandir(folder) if folder.is_dir() else ():
                whole = entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
                if not whole and not entry.is_symlink():
                    raise RunDirectoryError(
                        f"--run_dir={self.path}: {entry.path} must be a file or a directory, is a "
                        "device or pipe"
                    )
                if entry.is_symlink():
                    raise RunDirectoryError(
                        f"--run_dir={self.path}: {entry.path} must not be a symbolic link (to "
                        f"{Path(entry.path).readlink()})"
                    )

    def _remove_leftovers(self) -> None:
        """Remove what a killed process of this run had not finished writing."""
        for folder in (self.path, self.path / "split", self.checkpoints):
            for path in folder.glob(".*.tmp"):
                path.unlink()
        for path in self.path.glob(f".{self.export.name}.partial-*"):
            shutil.rmtree(path)

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.flags"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def steps(self) -> Path:
        return self.path / "steps.csv"

    @property
    def events(self) -> Path:
        return self.path / "events"

    @property
    def export(self) -> Path:
        return self.path / "export"

    def is_begun(self) -> bool:
        """Whether there is a recipe in it; not where it cannot be looked into."""
        return os.path.exists(self.recipe_path)  # noqa: PTH110

    def summary(self) -> dict[str, Any]:
        """The summary as last written; empty for a run that has none."""
        return read_json(self.path / "summary.json")

    def write_summary(self, summary: dict[str, Any]) -> None:
        files.write_text(self.path / "summary.json", json.dumps(summary, indent=1) + "\n")

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write all epochs' rows: the file is a projection of the checkpointed history."""
        text = pd.DataFrame(history).to_csv(index=False, lineterminator="\n")
        files.write_text(self.path / "metrics.csv", text)

    def write_split(self, split: "Split", data_digest: str) -> None:
        """Save which examples train and validate; a resumed run must have the same.

        Raises:
            RunDirectoryError: if the run began with other data or another split.
        """
        folder = self.path / "split"
        folder.mkdir(exist_ok=True)
        before = read_json(folder / "data.json").get("digest", data_digest)
        if before != data_digest:
            raise RunDirectoryError(
                f"--run_dir={self.path}: began with other data (digest {before}, now {data_digest})"
            )
        files.write_text(folder / "data.json", json.dumps({"digest": data_digest}) + "\n")
        for name in ("train_indices", "val_indices"):
            path, indices = folder / f"{name}.npy", getattr(split, name)
            if not path.exists():
                with files.atomic(path) as file:
                    np.save(file, indices, allow_pickle=False)
            elif not np.array_equal(_read_indices(path), indices):
                raise RunDirectoryError(
                    f"{path}: differs from the split drawn now (another version of scikit-learn?)"
                )

    def add_provenance(self, entry: dict[str, Any]) -> None:
        """Append one start of the run to provenance.json."""
        starts = [*self.starts(), entry]
        text = json.dumps({"starts": starts}, indent=1) + "\n"
        files.write_text(self.path / "provenance.json", text)

    def starts(self) -> list[dict[str, Any]]:
        """The starts of the run in provenance.json, the first one first.

        Raises:
            RunDirectoryError: if it is damaged.
        """
        path = self.path / "provenance.json"
        starts = read_json(path).get("starts", [])
        if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
            raise RunDirectoryError(f"{path} is damaged: starts must be a list of objects")
        return starts

    def log(self, line: str) -> None:
        """Append a dated line to train.log."""
        files.append(self.path / "train.log", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


def _read_indices(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # damaged bytes raise whatever NumPy's header parser does
        raise RunDirectoryError(f"{path} is damaged: {error}") from None


def default_run_dir(recipe: Recipe) -> str:
    """runs/<dataset>-<model>-<digest>-seed<seed>: the same command finds the same run."""
    dataset = recipe.dataset.replace("/", "-").replace(":", "-")
    network = recipe.parsed("model").family
    return f"runs/{dataset}-{network}-{recipe.digest[:8]}-seed{recipe.seed}"


def run_path(recipe: Recipe) -> Path:
    """The directory that records the recipe's run."""
    return Path(recipe.run_dir or default_run_dir(recipe))


def read_recipe(run_dir: Path) -> Recipe:
    """The recipe of a run (or of an export, which has a copy).

    Raises:
        RunDirectoryError: if there is none.
        RecipeError: if this version of tfsc cannot read it.
    """
    path = run_dir / "recipe.flags"
    try:
        return Recipe.from_flagfile(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{run_dir} is no run directory: {error}") from None


def earlier_digests(run_dir: Path) -> frozenset[str]:
    """Digests by which an earlier version knew a run's recipe: its checkpoints have them.

    Raises:
        RunDirectoryError: if there is no recipe, or provenance.json is damaged.
    """
    path = run_dir / "recipe.flags"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{run_dir} is no run directory: {error}") from None
    if not old_spelling.is_old(re.findall(r"^--(\w+)=", text, re.MULTILINE)):
        return frozenset()
    starts = read_json(run_dir / "provenance.json").get("starts", [])
    try:
        return frozenset(str(start["recipe_digest"]) for start in starts)
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{run_dir / 'provenance.json'} is damaged: each start must have a recipe_digest "
            f"({error!r})"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty if there is none.

    Raises:
        RunDirectoryError: if the file is there and damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from None
    return content
