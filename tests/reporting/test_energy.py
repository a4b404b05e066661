"""Joules and utilisation, against an NVML whose GPUs do as they are told."""

import sys
import types

import pytest

from tfsc.reporting import energy
from tfsc.reporting.energy import GpuMeter, Usage


class FakeNvml(types.ModuleType):
    """pynvml with GPUs of a given power and load; time passes when a test says so."""

    class NVMLError(Exception):
        pass

    def __init__(self, watts, percents=None, unsupported=(), models=None):
        super().__init__("pynvml")
        self.watts, self.percents = list(watts), list(percents or [100] * len(watts))
        self.unsupported, self.models = set(unsupported), models or ["H100"] * len(watts)
        self.now, self.millijoules, self.open = 100.0, [5e6] * len(watts), 0

    def sleep(self, seconds):
        self.now += seconds
        self.millijoules = [
            energy + 1000 * seconds * watts
            for energy, watts in zip(self.millijoules, self.watts, strict=True)
        ]

    def _check(self, name):
        if name in self.unsupported:
            raise self.NVMLError("Not Supported")

    def nvmlInit(self):
        self._check("init")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return len(self.watts)

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return {b"GPU-a": 0, b"GPU-b": 1}[uuid]

    def nvmlDeviceGetName(self, handle):
        return self.models[handle]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        self._check("energy")
        return int(self.millijoules[handle])

    def nvmlDeviceGetPowerUsage(self, handle):
        self._check("power")
        return int(1000 * self.watts[handle])

    def nvmlDeviceGetUtilizationRates(self, handle):
        self._check("utilization")
        return types.SimpleNamespace(gpu=self.percents[handle], memory=1)


@pytest.fixture
def fake(monkeypatch):
    """Install a FakeNvml as pynvml, with its own clock and no sampling but the test's."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def install(*arguments, **options):
        nvml = FakeNvml(*arguments, **options)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        monkeypatch.setattr(energy.time, "perf_counter", lambda: nvml.now)
        return nvml

    return install


def _meter(gpus=1, **options):
    return GpuMeter(gpus, interval=1000, **options)


def test_energy_is_the_difference_of_the_counters_of_the_gpus_used(fake):
    nvml = fake([300, 100, 50], [80, 40, 0])
    with _meter(2) as meter:
        nvml.sleep(10)
        first = meter.usage()
        nvml.percents = [100, 100, 0]
        nvml.sleep(30)
        last = meter.usage()
    assert first == Usage(joules=4000.0, busy_seconds=6.0, seconds=10.0)
    assert first.utilization == 0.6
    assert last - first == Usage(joules=12000.0, busy_seconds=30.0, seconds=30.0)
    assert meter.usage() == last  # nothing is counted once it is closed
    assert nvml.open == 0 and not meter.missing


def test_without_a_counter_power_is_integrated(fake):
    nvml = fake([100], unsupported=["energy"])
    with _meter() as meter:
        nvml.watts = [300]
        nvml.sleep(2)  # from 100 W to 300 W
        assert meter.usage().joules == 400
        nvml.sleep(1)
        assert meter.usage().joules == 700


def test_a_thread_samples_between_the_calls(fake):
    nvml = fake([100], [0])
    samples = []
    nvml.nvmlDeviceGetUtilizationRates = lambda _: samples.append(1) or types.SimpleNamespace(gpu=1)
    with GpuMeter(1, interval=0.001) as meter:
        meter._stop.wait(0.2)
    assert len(samples) > 10


def test_a_runs_earlier_processes_are_added(fake):
    nvml = fake([100], [50])
    with _meter(before=Usage(1000.0, 2.0, 10.0)) as meter:
        nvml.sleep(10)
        assert meter.usage() == Usage(2000.0, 7.0, 20.0)
    with _meter(before=Usage()) as meter:  # one of them was not measured: the sum is unknown
        nvml.sleep(10)
        assert meter.usage() == Usage(None, None, 10.0)


@pytest.mark.parametrize(
    ("unsupported", "joules", "utilization"),
    [(["energy", "power"], None, 1.0), (["utilization"], 100.0, None)],
)
def test_what_a_gpu_does_not_tell_is_none(fake, unsupported, joules, utilization):
    nvml = fake([100], unsupported=unsupported)
    with _meter() as meter:
        nvml.sleep(1)
        assert (meter.usage().joules, meter.usage().utilization) == (joules, utilization)


def test_a_gap_makes_the_total_unknown(fake):
    nvml = fake([100])
    with _meter() as meter:
        nvml.sleep(1)
        nvml.unsupported = {"energy", "utilization"}
        assert meter.usage() == Usage(None, None, 1.0)
        nvml.unsupported = set()
        nvml.sleep(1)
        assert meter.usage() == Usage(None, None, 2.0)


def test_without_gpu_package_or_driver_nothing_is_measured(fake, monkeypatch):
    fake([100], unsupported=["init"])
    for gpus, why in ((0, "no GPU is used"), (1, "NVML: Not Supported")):
        with _meter(gpus) as meter:
            assert meter.usage() == Usage(None, None, 0.0)
        assert meter.missing == why
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed
    with _meter() as meter:
        assert meter.usage().joules is None
    assert meter.missing.startswith("pynvml is not installed")


@pytest.mark.parametrize(
    ("visible", "watts"),
    [
        ("1", 200),
        ("GPU-b", 200),
        ("1,0", 200),
        ("MIG-a", "a MIG slice has no counters of its own"),
        ("7", "CUDA_VISIBLE_DEVICES=7, NVML has 2 GPUs"),
        ("", "is not understood"),
    ],
)
def test_the_gpus_are_those_that_cuda_shows(fake, monkeypatch, visible, watts):
    nvml = fake([100, 200])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with _meter() as meter:
        nvml.sleep(1)
        if isinstance(watts, str):
            assert watts in meter.missing and meter.usage().joules is None
        else:
            assert meter.usage().joules == watts


def test_gpus_of_several_models_need_an_order(fake, monkeypatch):
    nvml = fake([100, 200], models=["T4", "H100"])
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    with _meter() as meter:
        assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in meter.missing
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    with _meter() as meter:
        nvml.sleep(1)
        assert meter.usage().joules == 100
