"""What commands share: flags, foreseen errors as one message, TensorFlow without chatter."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags, logging

from tfsc.errors import Interrupted, RecipeError, TfscError


def run(main: Callable[[], None]) -> None:
    """Parse flags, call `main`, and end the process; foreseen errors are one message."""

    def guarded(_argv: Sequence[str]) -> None:
        try:
            main()
        except TfscError as error:
            _fail(error)
        except KeyboardInterrupt:
            _fail(Interrupted(signal.SIGINT))
        except OSError as error:  # a path that cannot be read or written, a full disk
            _fail(TfscError(f"{error.filename or 'file system'}: {error.strerror or error}"))

    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    """Parse flags; unlike absl, refuse stray words and say what is wrong in one line."""
    try:
        rest = flags.FLAGS(list(argv), known_only=False)
    except UnicodeDecodeError as error:
        _fail(RecipeError(f"--flagfile: must be UTF-8 text: {error}"))
    except (flags.Error, ValueError) as error:  # absl lets some ValueErrors through
        message = " ".join(str(error).removeprefix("ERROR:: ").split())
        _fail(RecipeError(f"{message} (--help lists the flags)"))
    # absl's default would show other packages' notes.
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = logging.WARNING
    if len(rest) > 1:
        stray = " ".join(" ".join(rest[1:]).split())
        _fail(RecipeError(f"unexpected words: {stray}; settings are written --name=value"))
    return rest


def _fail(error: TfscError) -> None:
    """Show a foreseen error and end the process with its exit code."""
    command = Path(sys.argv[0]).stem
    print(f"tfsc.{command}: {error}", file=sys.stderr, flush=True)
    sys.exit(error.exit_code)


_CHATTER = (
    b"oneDNN custom operations are on",
    b"before absl::InitializeLog()",
    # On a machine without a GPU, from the package that can use one.
    b"Could not find cuda drivers",
    b"failed call to cuInit",
)


def import_tensorflow() -> None:
    """Import TensorFlow and find the devices, without notes that no setting silences.

    They come from native code before any logger is set up, so the file descriptor itself is
    redirected; whatever else was written is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not any(note in line for note in _CHATTER):
                    os.write(2, line)
