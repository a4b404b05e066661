"""Checkpoints: written whole or not at all, checked when read.

A checkpoint of step k is two files: `step-00000781-<sha>.npz` holds every variable, and
`step-00000781.json`, written after it, names it with its SHA-256, the recipe digest and the run's
progress, under a digest of its own. The JSON file's appearance is the commit: arrays without it do
not exist. No pickle.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from tfsc import files
from tfsc.errors import RunDirectoryError

_ARRAYS = re.compile(r"step-(\d{8,})-[0-9a-f]{8}\.npz")


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint: its step, files and progress record."""

    step: int
    arrays_path: Path
    meta_path: Path
    progress: dict[str, Any]
    recipe_digest: str
    sha256: str


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        directory: made when first written to.
        recipe_digest: written into every checkpoint and demanded of it.
        earlier: other digests that will do, of the same recipe in an earlier version.
        keep: newest checkpoints to keep; the best one stays as well.
        warn: called with a line about what was passed over.
    """

    def __init__(
        self,
        directory: Path,
        recipe_digest: str,
        keep: int = 2,
        warn: Callable[[str], None] = logging.warning,
        earlier: Collection[str] = (),
    ):
        if keep < 1:
            raise ValueError(f"keep must be at least 1. Received: {keep}")
        self.directory = directory
        self.recipe_digest = recipe_digest
        self._digests = {recipe_digest, *earlier}
        self.keep = keep
        self.warn = warn

    def save(
        self,
        state: Mapping[str, keras.Variable],
        step: int,
        progress: dict[str, Any],
        best_step: int | None = None,
    ) -> None:
        """Write the checkpoint of `step` and remove those no longer kept.

        Args:
            state: variables by unique name.
            step: finished optimizer steps.
            progress: JSON-able record of what else resuming needs.
            best_step: the checkpoint to keep however old it is.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, **{name: variable.numpy() for name, variable in state.items()})
        sha256 = hashlib.sha256(buffer.getbuffer()).hexdigest()
        # Named by content: a step that is saved again leaves its first arrays in place until its
        # record points to the new ones.
        arrays_path = self.directory / f"step-{step:08d}-{sha256[:8]}.npz"
        with files.atomic(arrays_path) as file:
            file.write(buffer.getbuffer())
        meta = {
            "step": step,
            "arrays": arrays_path.name,
            "sha256": sha256,
            "recipe_digest": self.recipe_digest,
            "progress": progress,
        }
        record = self.directory / f"step-{step:08d}.json"
        files.write_text(record, files.sealed(meta))
        self._prune(keep_always={step, best_step})

    def all(self) -> list[Checkpoint]:
        """Committed checkpoints, newest first; one whose record is damaged is passed over."""
        return self.read_all()[0]

    def newest_sound(self) -> Checkpoint | None:
        """The newest checkpoint whose arrays are as they were written."""
        return next((found for found in self.all() if _fault(found) is None), None)

    def restore_newest(self, state: Mapping[str, keras.Variable]) -> Checkpoint | None:
        """Load the newest sound checkpoint into `state`; None if there has never been one.

        One warning names what was passed over and what is used instead.

        Raises:
            RunDirectoryError: if there are checkpoints and none can be used.
        """
        checkpoints, faults = self.read_all()
        for checkpoint in checkpoints:
            try:
                self.restore(checkpoint, state)
            except RunDirectoryError as error:
                faults[checkpoint.step] = str(error)
                continue
            newer = [fault for step, fault in faults.items() if step > checkpoint.step]
            if newer:
                self.warn(f"{'; '.join(newer)}; going on from {checkpoint.arrays_path} instead")
            return checkpoint
        # Arrays without a record are a first save that was cut off: nothing is lost with them.
        if not faults and len(list(self.directory.glob("step-*.npz"))) > 1:
            raise RunDirectoryError(
                f"{self.directory} has arrays of several checkpoints and not one record "
                "(step-*.json) of them. Nothing was deleted: bring the records back, or start anew "
                "with another --run_dir"
            )
        if faults:
            raise RunDirectoryError(
                f"no checkpoint in {self.directory} can be used: {'; '.join(faults.values())}. "
                "Nothing was deleted: bring one of them back, or start anew with another --run_dir"
            )
        return None

    def read_all(self) -> tuple[list[Checkpoint], dict[int, str]]:
        """Checkpoints with a sound record, newest first, and the faults of the others by step."""
        sound, faults = [], {}
        paths = {
            int(path.stem[5:]): path
            for path in self.directory.glob("step-*.json")
            if path.stem[5:].isdecimal()
        }
        for step in sorted(paths, reverse=True):
            try:
                sound.append(self._read(paths[step], step))
            except (OSError, ValueError, KeyError, TypeError) as error:
                faults[step] = f"checkpoint record {paths[step]} is damaged: {error}"
        return sound, faults

    def _read(self, path: Path, step: int) -> Checkpoint:
        meta = files.unsealed(path.read_text(encoding="utf-8"))
        # A record from elsewhere may say anything: only a checkpoint beside it can be meant.
        name = _ARRAYS.fullmatch(meta["arrays"])
        if not name or not step == int(name[1]) == meta["step"]:
            raise ValueError(f"it names {meta['arrays']!r} for step {meta['step']!r}")
        return Checkpoint(
            step=step,
            arrays_path=self.directory / meta["arrays"],
            meta_path=path,
            progress=dict(meta["progress"]),
            recipe_digest=str(meta["recipe_digest"]),
            sha256=str(meta["sha256"]),
        )

    def restore(self, checkpoint: Checkpoint, state: Mapping[str, keras.Variable]) -> None:
        """Assign a checkpoint's arrays to `state`, all or none.

        Raises:
            RunDirectoryError: if it is damaged, another recipe's, or has other variables.
        """
        path = checkpoint.arrays_path
        if checkpoint.recipe_digest not in self._digests:
            raise RunDirectoryError(f"checkpoint {path} is another recipe's")
        if fault := _fault(checkpoint):
            raise RunDirectoryError(fault)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            # The digest is right: somebody else wrote this.
            raise RunDirectoryError(f"checkpoint {path} is none of tfsc's: {error}") from None
        arrays = _renumbered(arrays, state)
        odd = set(arrays) ^ set(state)
        odd |= {
            name
            for name in set(arrays) & set(state)
            if arrays[name].shape != tuple(state[name].shape)
        }
        if odd:
            raise RunDirectoryError(
                f"checkpoint {path} does not fit the network: {len(odd)} variables differ, "
                f"{min(odd)} first"
            )
        for name, variable in state.items():
            variable.assign(arrays[name])

    def _prune(self, keep_always: set[int | None]) -> None:
        """Remove old checkpoints, record first, and arrays that no record names."""
        checkpoints, _ = self.read_all()
        kept = {checkpoint.step for checkpoint in checkpoints[: self.keep]} | keep_always
        for checkpoint in checkpoints:
            if checkpoint.step not in kept:
                checkpoint.meta_path.unlink()
        named = {checkpoint.arrays_path for checkpoint in checkpoints if checkpoint.step in kept}
        for arrays_path in self.directory.glob("step-*.npz"):
            if arrays_path not in named:
                arrays_path.unlink()


def _renumbered(
    arrays: dict[str, np.ndarray], state: Mapping[str, keras.Variable]
) -> dict[str, np.ndarray]:
    """The arrays by the names of `state`, which are group/number/path.

    Where C++ computes two layers as one, Keras may list the network's layers in another order: the
    same variables have other numbers. As they are if paths do not tell a group's variables apart.
    """
    names = {_unnumbered(name): name for name in state}
    found = {names.get(_unnumbered(name), name): array for name, array in arrays.items()}
    return found if len(names) == len(state) and len(found) == len(arrays) else arrays


def _unnumbered(name: str) -> str:
    group, _, rest = name.partition("/")
    return f"{group}/{rest.partition('/')[2] or rest}"


def _fault(checkpoint: Checkpoint) -> str | None:
    """What is wrong with the file of a checkpoint's arrays; None if it is as it was written."""
    path = checkpoint.arrays_path
    try:
        same = files.sha256(path) == checkpoint.sha256
    except FileNotFoundError:
        return f"checkpoint {path} is missing"
    except OSError as error:
        return f"checkpoint {path} cannot be read: {error.strerror}"
    return None if same else f"checkpoint {path} is damaged: its digest differs"
