"""What every test needs: no trace of one test, or of the developer's machine, in another."""

import sys

import pytest


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("tfsc-cache")


@pytest.fixture(autouse=True)
def isolated(monkeypatch, session_cache):
    """Caches and datasets of the developer's own stay out; the precision policy is Keras' own."""
    monkeypatch.setenv("TFSC_CACHE_DIR", str(session_cache))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    yield
    # Many tests need no Keras, and importing it takes seconds.
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")
