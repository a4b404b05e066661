"""The errors a person can meet, each with the exit code its command ends with.

A command shows such an error as its message alone; any other exception is a defect of tfsc and
keeps its traceback.
"""

import re
import signal


def one_line(error: Exception, longest: int = 300) -> str:
    """The first line of what a library's error says, without TensorFlow's names of nodes."""
    text = re.sub(r"\{\{.*?\}\}| \[Op:.*", "", str(error)).strip()
    return text.splitlines()[0][:longest].rstrip(".") if text else type(error).__name__


class TfscError(Exception):
    """Something outside tfsc is not as it has to be: data, a file, a device."""

    exit_code = 1


class RecipeError(TfscError):
    """A setting has a value that is not allowed, alone or beside another."""

    exit_code = 2


class DataError(TfscError):
    """A dataset is missing, damaged or of a kind tfsc cannot train on."""


class RunDirectoryError(TfscError):
    """A run directory cannot be used: another recipe's, locked, or damaged."""


class ExportError(TfscError):
    """An exported model is missing, foreign or damaged."""


class StorageError(TfscError):
    """A file could not be written: the disk is full, a quota is reached, a directory read-only."""


class Diverged(TfscError):
    """The loss or the weights are no longer finite.

    Args:
        what: what is not finite.
        step: the optimizer step after which that was seen.
        learning_rate: at that step.
    """

    exit_code = 3

    def __init__(self, what: str, step: int, learning_rate: float):
        super().__init__(f"{what} at step {step} (learning rate {learning_rate:g})")
        self.what, self.step, self.learning_rate = what, step, learning_rate


class Interrupted(TfscError):
    """SIGINT or SIGTERM asked the run to stop; its state is saved."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.exit_code = 128 + signum


def shown(text: str, longest: int = 160) -> str:
    """Any text, fit for a line of a message: odd characters escaped, a long middle left out."""
    if len(text) > 2 * longest:  # escape only what can be shown
        text = text[:longest] + text[-longest:]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(escaped) <= longest:
        return escaped
    tail = longest // 4
    return f"{escaped[: longest - tail - 1]}…{escaped[-tail:]}"
