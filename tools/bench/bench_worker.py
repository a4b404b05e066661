"""A benchmark's worker: a process that holds one variant ready and times it when told to.

Needs nothing but Python, so that a worker may run in an environment without tfsc.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def serve(run: Callable[[int], object], **facts: object) -> None:
    """Answer each line "steps" of standard input with the seconds of one step.

    Args:
        run: takes that many steps and returns when they are done.
        facts: told once, when everything has been built.
    """
    # Libraries print to standard output; the answers must not mix with that.
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        steps = int(line)
        started = time.perf_counter()
        run(steps)
        print((time.perf_counter() - started) / steps, file=answers, flush=True)


class Worker:
    """The other end: a process that serves, stopped at the end of a `with`.

    Args:
        command: of the process.

    Raises:
        RuntimeError: with its last words, if the process ends too early.
    """

    def __init__(self, command: Sequence[str]):
        self._command = list(command)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = json.loads(self._line())

    def seconds(self, steps: int) -> float:
        """Seconds of one step, the mean of that many."""
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise RuntimeError(f"{' '.join(self._command)}: ended early with exit code {code}")
        return line

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
