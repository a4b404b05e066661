"""What commands share: flags, foreseen errors as one message, TensorFlow without chatter."""

import contextlib
import gc
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from absl import app, flags, logging

from tfsc.command_line import help
from tfsc.command_line.parse import parse
from tfsc.errors import Interrupted, TfscError, shown

_LONGEST_ERROR = 1000


def run(
    main: Callable[[], None],
    check: Callable[[flags.FlagValues], object] | None = None,
    only_in_files: Mapping[str, str] | None = None,
    renamed: Callable[[str, Sequence[str]], str] | None = None,
    sections: Mapping[str, str] | None = None,
) -> None:
    """Parse flags, call `main`, and end the process; foreseen errors are one message.

    Args:
        main: what the command does.
        check: rules about several flags together, checked with --only_check_args too.
        only_in_files: flags that are refused outside of flagfiles, and the rule that says why.
        renamed: what to say of flags that have another spelling now; see `parse`.
        sections: of --help, by the name of a flag; those without one are the command's own.
    """

    def parser(argv: Sequence[str]) -> list[str]:
        if help.is_asked(argv[1:]):
            _foreseen(lambda: _help(sections or {}))
        _foreseen(lambda: _parse(argv, check, only_in_files, renamed))
        # absl's default would show other packages' notes.
        if flags.FLAGS["verbosity"].using_default_value:
            # By name, not by its flag: then absl takes it for one that was typed, and keeps it.
            setattr(flags.FLAGS, "verbosity", logging.WARNING)  # noqa: B010 (mypy knows no flags)
        return list(argv[:1])

    _open_standard_streams()
    app.run(lambda _argv: _foreseen(main), flags_parser=parser)


def _help(sections: Mapping[str, str]) -> None:
    with contextlib.suppress(BrokenPipeError):  # `--help | head` has had enough
        help.show(flags.FLAGS, sections)
    raise SystemExit(0)


def _parse(
    argv: Sequence[str],
    check: Callable[[flags.FlagValues], object] | None,
    only_in_files: Mapping[str, str] | None,
    renamed: Callable[[str, Sequence[str]], str] | None,
) -> None:
    try:
        parse(argv, flags.FLAGS, check, only_in_files, renamed)
    except (BrokenPipeError, SystemExit):
        # Nothing but a help flag ends here, also where `--help | head` has had enough. absl ends it
        # with 1, as if it were an error.
        raise SystemExit(0) from None


def _open_standard_streams() -> None:
    """Point closed standard streams to nowhere.

    Otherwise the next file that is opened takes the stream's number, and what a library prints
    lands in a checkpoint.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without é or λ


def _foreseen(action: Callable[[], None]) -> None:
    """Call `action`; a foreseen error is shown and ends the process."""
    try:
        try:
            action()
        except SystemExit:  # --help has printed, and `--help | head` is no error
            with contextlib.suppress(BrokenPipeError):
                _flush()
            raise
        _flush()
    except TfscError as error:
        _fail(error)
    except KeyboardInterrupt:
        _fail(Interrupted(signal.SIGINT))
    except OSError as error:  # a path that cannot be read or written, a full disk
        with contextlib.suppress(OSError):
            _flush()
        where = "standard output" if isinstance(error, BrokenPipeError) else "file system"
        _fail(TfscError(f"{error.filename or where}: {error.strerror or error}"))


def _flush() -> None:
    """Flush standard output, so that one that is closed or full shows before Python ends.

    Raises:
        OSError: if it is; what it held is lost, and does not fail again at exit.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


def _fail(error: TfscError) -> None:
    """Show a foreseen error and end the process with its exit code."""
    path = Path(sys.argv[0])
    command = path.parent.name if path.stem == "__main__" else path.stem
    with contextlib.suppress(OSError):  # a full standard error must not change the exit code
        print(f"tfsc.{command}: {presentable(error)}", file=sys.stderr, flush=True)
    sys.exit(error.exit_code)


def presentable(error: TfscError) -> str:
    """An error as one line fit for a terminal; that of a text keeps it and its caret."""
    lines = str(error).split("\n")
    if len(lines) == 3 and lines[2].strip() == "^":
        return "\n".join(shown(line, _LONGEST_ERROR) for line in lines)
    return shown(" ".join(line.strip() for line in lines), _LONGEST_ERROR)


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
    redirected; whatever else was written is shown. What a command has no use for is left out: with
    scikit-learn and Matplotlib, which Keras imports where they are, this takes twice as long.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # What a user's shell sets for other programs; there is no other choice here.
    os.environ["KERAS_BACKEND"], os.environ["MPLBACKEND"] = "tensorflow", "Agg"
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            with _without("sklearn", "matplotlib"), _without_collections():
                import tensorflow

            tensorflow.config.list_physical_devices()
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not any(note in line for note in _CHATTER):
                    os.write(2, line)


@contextlib.contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Within, these packages cannot be imported, as if they were not installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Within, no garbage is collected; what is made is never looked at again, as it stays."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
