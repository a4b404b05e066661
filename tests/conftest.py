"""What every test needs: no trace of one test, or of the developer's machine, in another."""

import gc
import re
import sys

import faults
import pytest

from tfsc import files
from tfsc.hardware import processor

_FOUND = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption(
        "--write-faults",
        action="store_true",
        help=f"write the table of {faults.DOCUMENT.name} from this run (all tests: -m 'slow or not "
        "slow')",
    )


def pytest_configure(config):
    config.stash[_FOUND] = []
    # A million objects of TensorFlow and Keras would be looked at again and again for garbage; what
    # a run leaves behind it collects itself.
    gc.set_threshold(100_000, 50, 1000)


def pytest_collection_modifyitems(items):
    """Modules that take long come first: two workers then end together."""
    long = ("kill", "crash_test", "train", "full_disk", "evaluate", "lr_find", "benchmarks")
    long += ("gpu_suite", "repeat", "run", "storage_faults", "learner", "notebooks")
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in long)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take over the rows of a worker (pytest-xdist)."""
    node.config.stash[_FOUND] += node.workeroutput["faults"]


def pytest_sessionfinish(session):
    # pytest looks for garbage once more, and pytest-xdist waits for that only so long.
    gc.freeze()
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["faults"] = config.stash[_FOUND]
    elif config.getoption("--write-faults"):
        document = faults.DOCUMENT.read_text(encoding="utf-8")
        text = faults.replaced(document, config.stash[_FOUND])
        faults.DOCUMENT.write_text(text, encoding="utf-8")


def _forbidden(error: BaseException | None) -> str:
    """Why oneDNN cannot compute what TensorFlow left to it; empty where it is another error.

    ONEDNN_MAX_CPU_ISA, at which the suite is tried too, hides AVX-512 from oneDNN only: TensorFlow
    sees the processor and has no other way for bf16. On a processor without AVX-512 it has.
    """
    while error is not None:
        if re.search("could not create a (primitive )?descriptor", str(error)):
            return processor.bf16_obstacle() if "avx512f" in processor.cpu_flags() else ""
        error = error.__cause__ or error.__context__
    return ""


def _skip_what_is_forbidden():
    try:
        return (yield)
    except Exception as error:
        if why := _forbidden(error):
            pytest.skip(f"bf16 cannot be computed: {why}")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from _skip_what_is_forbidden())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from _skip_what_is_forbidden())


@pytest.fixture
def fault(request, tmp_path_factory):
    """`fault(area, tried, happened)`: this test has shown this row of docs/reliability.md."""

    def record(area: str, tried: str, happened: str) -> None:
        line = faults.row(area, tried, happened, tmp_path_factory.getbasetemp())
        if request.config.getoption("--write-faults"):
            request.config.stash[_FOUND].append(line)
            return
        assert line in faults.rows(faults.DOCUMENT.read_text(encoding="utf-8")), (
            f"{faults.DOCUMENT.name} does not have this row; run `pytest --write-faults`:\n{line}"
        )

    return record


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    cache = tmp_path_factory.mktemp("tfsc-cache")
    # C++ operations take half a minute to compile, and their name is the digest of their source.
    compiled = files.cache_root() / "native"
    compiled.mkdir(parents=True, exist_ok=True)
    (cache / "native").symlink_to(compiled)
    return cache


@pytest.fixture(autouse=True)
def isolated(monkeypatch, session_cache):
    """The developer's own data and caches of it stay out; the precision policy is Keras' own."""
    monkeypatch.setenv("TFSC_CACHE_DIR", str(session_cache))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    yield
    # Many tests need no Keras, and importing it takes seconds.
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")
