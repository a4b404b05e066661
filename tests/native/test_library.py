"""What keeps the C++ operations from being had, and that each case says why."""

import functools
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from tfsc.native import compiler, library
from tfsc.native.compiler import LEVELS, NativeError


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No library yet, and a processor that has what it takes; what one test finds it forgets."""
    monkeypatch.setenv("TFSC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "cpu_flags", lambda: frozenset(LEVELS["avx512_bf16"]))
    # What this process has loaded it keeps: TensorFlow registers an operation once.
    for module, name in ((library, "_attempt"), (compiler, "_begun")):
        monkeypatch.setattr(module, name, functools.cache(getattr(module, name).__wrapped__))


def _compiler(tmp_path, body):
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_processor_without_the_instructions(monkeypatch):
    monkeypatch.setattr(compiler, "cpu_flags", lambda: frozenset({"avx2", "avx512f"}))
    with pytest.raises(NativeError, match=r"^the processor has no fma$"):
        library.load()


@pytest.mark.parametrize("name", LEVELS)
def test_the_best_level_that_the_processor_has_or_the_one_that_is_asked_for(name, monkeypatch):
    monkeypatch.setattr(compiler, "cpu_flags", lambda: frozenset({*LEVELS[name], "sse"}))
    assert compiler.level() == name
    monkeypatch.setenv(compiler.LEVEL_VARIABLE, "avx2")
    assert compiler.level() == "avx2"
    monkeypatch.setenv(compiler.LEVEL_VARIABLE, "avx3")
    with pytest.raises(NativeError, match=r"must be one of amx, avx512_bf16, avx512, avx2$"):
        compiler.level()


def test_a_level_that_the_processor_has_not_is_refused(monkeypatch):
    monkeypatch.setattr(compiler, "cpu_flags", lambda: frozenset(LEVELS["avx2"]))
    monkeypatch.setenv(compiler.LEVEL_VARIABLE, "avx512")
    with pytest.raises(NativeError, match=r"^the processor has no avx512f$"):
        library.load()


def test_another_kind_of_machine_is_named(monkeypatch):
    monkeypatch.setattr(compiler, "cpu_flags", frozenset)
    monkeypatch.setattr(compiler.platform, "machine", lambda: "aarch64")
    with pytest.raises(NativeError, match=r"^this is aarch64 \(\w+\), not x86-64 Linux$"):
        library.load()


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NativeError, match="no C\\+\\+ compiler no-such-compiler"):
        library.load()


def test_a_compiler_that_fails_is_asked_once(monkeypatch, tmp_path):
    calls = tmp_path / "calls"
    body = f'[ "$1" = --version ] && exit 0\necho x >> {calls}\necho "error: no" >&2; exit 3'
    monkeypatch.setenv("CXX", _compiler(tmp_path, body))
    for _ in range(2):
        with pytest.raises(NativeError, match="failed with exit code 3: error: no"):
            library.load()
        calls.open("a").write("asked\n")
    assert calls.read_text().split().index("asked") >= 1
    assert calls.read_text().endswith("asked\nasked\n")
    assert not [*(tmp_path / "cache" / "native").glob("*.so")]


def test_of_two_that_need_it_at_once_one_compiles_and_the_other_waits(monkeypatch, tmp_path):
    calls = tmp_path / "calls"
    body = (
        '[ "$1" = --version ] && exit 0\nwhile [ "$1" != -o ]; do shift; done\n'
        f'echo "${{2##*.}}" >> {calls}\nsleep 0.1; echo done > "$2"'
    )
    monkeypatch.setenv("CXX", _compiler(tmp_path, body))
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: compiler._compiled(), range(2))
    assert first == second and first.read_text() == "done\n"
    made = calls.read_text().split()
    assert made.count("so") == 1 and made.count("o") == len([*compiler._FOLDER.glob("*.cc")])


def test_what_was_started_is_waited_for(monkeypatch, tmp_path):
    body = (
        '[ "$1" = --version ] && exit 0\nwhile [ "$1" != -o ]; do shift; done\n'
        'sleep 0.1; echo done > "$2"'
    )
    monkeypatch.setenv("CXX", _compiler(tmp_path, body))
    compiler.start()
    assert not [*tmp_path.glob("cache/native/*.so")]
    assert compiler.compiled().read_text() == "done\n"


def test_a_library_that_is_none(monkeypatch, tmp_path):
    body = (
        'while [ "$1" ] && [ "$1" != -o ]; do shift; done\n[ "$1" ] && echo nothing > "$2"\nexit 0'
    )
    monkeypatch.setenv("CXX", _compiler(tmp_path, body))
    with pytest.raises(NativeError, match=r"operations-\w+\.so cannot be loaded"):
        library.load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", _compiler(tmp_path, "exit 0"))
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(NativeError, match="cannot write"):
        library.load()


def test_a_cache_that_is_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", _compiler(tmp_path, "exit 0"))
    (tmp_path / "cache").write_text("")
    with pytest.raises(NativeError, match="cannot write"):
        library.load()
