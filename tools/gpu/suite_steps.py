"""Step times of configurations, by workers."""

import time
from typing import Any

from suite_pieces import Config, Setting
from suite_processes import Worker, WorkerFailed
from suite_results import Results
from suite_walk import Budget


class WrongMachine(Exception):
    """There is no GPU where one is meant to be measured, or another one than before."""


class StepTimes:
    """Times configurations by workers, one at a time; a context.

    Args:
        setting: what to measure.
        flags: of every recipe.
        results: where to.
        budget: of the whole suite.
        allow_cpu: whether a machine without a GPU will do.
    """

    def __init__(
        self,
        setting: Setting,
        flags: list[str],
        results: Results,
        budget: Budget,
        allow_cpu: bool,
    ):
        self.setting, self.flags, self.results, self.budget = setting, flags, results, budget
        self.needs_gpu = setting.needs_gpu and not allow_cpu
        self._worker: Worker | None = None
        self._tf32 = False  # what the worker has computed with
        self._has_gpu = False

    def __enter__(self) -> "StepTimes":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def measure(self, config: Config) -> None:
        """Time a configuration; what prevents it is recorded in place of the figures.

        Raises:
            WrongMachine: if that is found out.
        """
        started = time.monotonic()
        try:
            answer = self._ask(config, min(self.budget.call_left(), self.setting.limit))
        except WorkerFailed as error:
            answer = {"error": str(error)}
        if "error" in answer and not answer.get("refused"):
            self.close()  # what an error leaves in the GPU's memory is unknown
        seconds = round(time.monotonic() - started, 1)
        status = "failed" if "error" in answer else "ok"
        self.results.add(config, status=status, seconds=seconds, **answer)
        outcome = answer.get("error") or f"{answer['images_per_second']:.0f} images/s"
        print(f"{self.budget.spent():5.0f} s  {config}: {outcome}", flush=True)

    def close(self) -> None:
        """End the worker: a run needs all of the GPU's memory."""
        if self._worker:
            self._worker.close()
        self._worker = None

    def _ask(self, config: Config, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        tf32 = config.precision != "fp32"
        if self._has_gpu and tf32 != self._tf32:
            self.close()
        if self._worker is None:
            self._worker = Worker(self.results.out / "worker.log")
            machine = self._worker.receive(end - time.monotonic())
            self._check(machine)
            self.results.update(machine=machine)
            self._has_gpu = bool(machine["device"]["gpus"])
        self._tf32 = tf32
        self._worker.send(
            {"flags": [*self.flags, *config.flags()], "seconds": self.setting.seconds}
        )
        return self._worker.receive(end - time.monotonic())

    def _check(self, machine: dict[str, Any]) -> None:
        gpus = machine["device"]["gpus"]
        if self.needs_gpu and not gpus:
            raise WrongMachine(
                f"TensorFlow sees no GPU (it is built for {machine['built_for']}); --allow_cpu "
                f"measures the CPU. worker.log ends: {self._worker.last_words()}"
            )
        before = self.results.content.get("machine", machine)["device"]["gpus"]
        if before != gpus and self.results.good():
            raise WrongMachine(f"{self.results.out} has results of {before}, this is {gpus}")
