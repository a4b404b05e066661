"""The processes that the suite starts: workers that time steps, and runs."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class WorkerFailed(Exception):
    """A worker died or did not answer in time."""


class Worker:
    """A process that times configurations, one after the other (tools/bench/step_timing.py).

    One process for many, as importing TensorFlow takes longer than timing steps. Not this process,
    as XLA can abort or hang where no exception comes, and as the run needs all of the GPU's memory.

    Args:
        log: what the process and its libraries print.
        command: to start another program.
    """

    def __init__(self, log: Path, command: list[str] | None = None):
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command or [sys.executable, str(ROOT / "tools/bench/step_timing.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment(),
                start_new_session=True,
            )

    def send(self, request: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            WorkerFailed: if it does not come in time, or never.
        """
        output = self._process.stdout
        if not select.select([output], [], [], max(seconds, 0))[0]:
            raise WorkerFailed(f"no answer within {seconds:.0f} s")
        line = output.readline()
        if not line.endswith(b"\n"):
            raise self._death()
        return json.loads(line)

    def last_words(self) -> str:
        """The last lines of its log, as one."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip()[:300] for line in lines[-3:]) or "(nothing)"

    def close(self) -> None:
        """End it, and wait until its memory is free."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _death(self) -> WorkerFailed:
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return WorkerFailed(f"the process was {how}: {self.last_words()}")


def run_until(command: list[str], log: Path, seconds: float, grace: float) -> tuple[int, bool]:
    """Run a command; SIGTERM after `seconds`, SIGKILL if it has not ended `grace` seconds later.

    Returns:
        Its exit code, and whether it was stopped.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment()
        )
    try:
        return process.wait(seconds), False
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            return process.wait(grace), True
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(), True
    finally:
        if process.poll() is None:  # this process is being ended
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """With this checkout importable, installed or not."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}
