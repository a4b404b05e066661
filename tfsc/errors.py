"""The errors a person can meet, each with the exit code its command ends with.

A command shows such an error as its message alone; any other exception is a defect of tfsc and
keeps its traceback.
"""

import signal


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


class Diverged(TfscError):
    """The training loss is no longer finite."""

    exit_code = 3


class Interrupted(TfscError):
    """SIGINT or SIGTERM asked the run to stop; its state is saved."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.exit_code = 128 + signum
