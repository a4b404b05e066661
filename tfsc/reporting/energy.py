"""`GpuMeter`: joules and utilisation of the GPUs of this process, read by NVML.

NVML is the driver's own library; `pynvml` (package nvidia-ml-py, extra `cuda`) calls it. Whatever
it cannot tell is None: a zero would look like a measurement. CPUs are not measured: their counters
(RAPL) are closed to ordinary users.
"""

import contextlib
import importlib
import os
import threading
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Totals over a span of time, all GPUs together.

    Attributes:
        joules: energy; None: not measured, or not all of it.
        busy_seconds: time in which a kernel ran (mean of the GPUs); None likewise.
        seconds: the span in which utilisation was sampled.
    """

    joules: float | None = None
    busy_seconds: float | None = None
    seconds: float = 0.0

    @property
    def utilization(self) -> float | None:
        """Share of the time in which a kernel ran, 0–1."""
        if self.busy_seconds is None or self.seconds <= 0:
            return None
        return self.busy_seconds / self.seconds

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            _both(self.joules, other.joules, 1),
            _both(self.busy_seconds, other.busy_seconds, 1),
            self.seconds + other.seconds,
        )

    def __sub__(self, earlier: "Usage") -> "Usage":
        return Usage(
            _both(self.joules, earlier.joules, -1),
            _both(self.busy_seconds, earlier.busy_seconds, -1),
            self.seconds - earlier.seconds,
        )


NOTHING_YET = Usage(0.0, 0.0, 0.0)


def _both(one: float | None, other: float | None, sign: int) -> float | None:
    return None if one is None or other is None else one + sign * other


class GpuMeter:
    """Counts what the GPUs use while the context is open; a thread samples them.

    Energy comes from the GPU's own counter (Volta and later), else from power samples by the
    trapezoidal rule. Both are of the whole GPU: of other processes on it, too. Utilisation is
    NVML's share of a recent 1/6–1 s in which a kernel ran. Memory is not read here: TensorFlow
    reserves nearly all of it at once.

    Args:
        gpus: how many the process computes on, the first of those it can see; 0: nothing is read.
        before: usage to go on from, as of a run's earlier processes.
        interval: seconds between two samples.

    Attributes:
        missing: why nothing is measured; empty if something is.
    """

    def __init__(self, gpus: int, before: Usage = NOTHING_YET, interval: float = 0.2):
        self._gpus, self._before, self._interval = gpus, before, interval
        self._total = Usage()
        self._nvml: Any = None  # the module pynvml while it measures
        self._handles: list[Any] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._sample_on, name="gpu-meter", daemon=True)
        self.missing = "not started"

    def __enter__(self) -> "GpuMeter":
        self.missing = self._open()
        if not self.missing:
            self._thread.start()
        return self

    def __exit__(self, *_):
        if self._nvml is None:
            return
        self._stop.set()
        self._thread.join()
        self._sample()
        with self._lock, contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()
        self._nvml = None

    def usage(self) -> Usage:
        """Totals up to this moment, those from before included."""
        self._sample()
        return self._before + self._total

    def _open(self) -> str:
        """Find the GPUs and take the first sample; what is in the way, if anything."""
        if not self._gpus:
            return "no GPU is used"
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return "pynvml is not installed (package nvidia-ml-py)"
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            return f"NVML: {error}"
        try:
            self._handles = _visible_gpus(nvml, self._gpus)
        except (nvml.NVMLError, LookupError) as error:
            nvml.nvmlShutdown()
            return f"NVML: {error}"
        self._nvml = nvml
        self._time = time.perf_counter()
        self._counters, self._milliwatts = self._read(self._millijoules), None
        if self._counters is None:
            self._milliwatts = self._read(nvml.nvmlDeviceGetPowerUsage)
        busy = self._read(self._percent)
        self._total = Usage(
            None if self._counters is None and self._milliwatts is None else 0.0,
            None if busy is None else 0.0,
        )
        return ""

    def _sample_on(self) -> None:
        while not self._stop.wait(self._interval):
            self._sample()

    def _sample(self) -> None:
        """Add what came since the last sample. What fails once is unknown from then on."""
        with self._lock:
            if self._nvml is None:
                return
            now = time.perf_counter()
            passed, self._time = now - self._time, now
            joules, busy = self._total.joules, self._total.busy_seconds
            if joules is not None:
                joules = _both(joules, self._joules_since(passed), 1)
            if busy is not None:
                percents = self._read(self._percent)
                if percents is None:
                    busy = None
                else:
                    busy += passed * sum(percents) / len(percents) / 100
            self._total = Usage(joules, busy, self._total.seconds + passed)

    def _joules_since(self, passed: float) -> float | None:
        if self._counters is not None:
            before, self._counters = self._counters, self._read(self._millijoules)
            if self._counters is None:
                return None
            return (sum(self._counters) - sum(before)) / 1000
        earlier, self._milliwatts = self._milliwatts, self._read(self._milliwatt)
        if self._milliwatts is None or earlier is None:
            return None
        return passed * (sum(self._milliwatts) + sum(earlier)) / 2 / 1000

    def _milliwatt(self, handle: Any) -> float:
        return self._nvml.nvmlDeviceGetPowerUsage(handle)

    def _millijoules(self, handle: Any) -> float:
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    def _percent(self, handle: Any) -> float:
        return self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu

    def _read(self, what: Any) -> list[float] | None:
        """A figure of each GPU; None if one of them does not give it."""
        try:
            return [float(what(handle)) for handle in self._handles]
        except self._nvml.NVMLError:
            return None


def _visible_gpus(nvml: ModuleType, gpus: int) -> list[Any]:
    """NVML's handles of the first GPUs that CUDA shows this process.

    Raises:
        LookupError: if it is uncertain which those are.
    """
    count = nvml.nvmlDeviceGetCount()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range(count)] if listed is None else listed.split(",")
    names = [name.strip() for name in names][:gpus]
    if len(names) < gpus:
        raise LookupError(f"{len(names)} GPUs are visible, {gpus} are used")
    if any(name.startswith("MIG-") for name in names):
        raise LookupError("a MIG slice has no counters of its own")
    if all(name.startswith("GPU-") for name in names):
        return [nvml.nvmlDeviceGetHandleByUUID(name.encode()) for name in names]
    if not all(name.isdecimal() for name in names):
        raise LookupError(f"CUDA_VISIBLE_DEVICES={listed} is not understood")
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    # NVML counts in the order of the bus, CUDA by default the fastest first.
    models = {nvml.nvmlDeviceGetName(handle) for handle in handles}
    if len(models) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise LookupError("GPUs of several models: set CUDA_DEVICE_ORDER=PCI_BUS_ID")
    if any(int(name) >= count for name in names):
        raise LookupError(f"CUDA_VISIBLE_DEVICES={listed}, NVML has {count} GPUs")
    return [handles[int(name)] for name in names]
