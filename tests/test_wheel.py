"""The wheel, installed outside of the checkout: commands, flagfiles, C++ sources, all modules."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from commands import ROOT

import tfsc
from tfsc.__main__ import COMMANDS

_SHIPPED = ("tfsc", "flags", "pyproject.toml", "README.md", "LICENSE")


def _python(*arguments, python=sys.executable, cwd=None):
    result = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        # No path of the checkout, and a wheel has nothing to do with what pip is set up for.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools leaves folders in what it builds, and takes them up again."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in _SHIPPED:
        source, copy = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    _python(*build, f"--wheel-dir={folder}", str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_all_of_the_package_and_every_flagfile(wheel):
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tfsc").rglob("*")
        if path.suffix in (".py", ".cc", ".h", ".typed")
    }
    flagfiles = {
        f"tfsc/flagfiles/{path.relative_to(ROOT / 'flags').as_posix()}"
        for path in (ROOT / "flags").rglob("*.flags")
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == files | flagfiles
    assert wheel.name == f"tfsc-{tfsc.__version__}-py3-none-any.whl"


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


def _install(wheel: Path, python: Path, *flags: str) -> None:
    _python("-m", "pip", f"--python={python}", "install", "--quiet", *flags, str(wheel))


def test_it_gives_every_command_and_finds_the_flagfiles_from_anywhere(wheel, tmp_path):
    python = _environment(tmp_path / "env")
    _install(wheel, python, "--no-deps", "--no-index")
    # Its dependencies are those that the tests run with.
    inside = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")})
    (Path(inside) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = python.with_name("tfsc")
    where = _python("-c", "import tfsc; print(tfsc.__file__)", python=python, cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path / "env")
    listed = _python(program, "--help", python=python, cwd=tmp_path)
    assert all(f"tfsc {name} " in listed for name in COMMANDS)
    assert (
        _python(program, "--version", python=python, cwd=tmp_path) == f"tfsc {tfsc.__version__}\n"
    )
    for flagfile in ("seeds/000-type2.flags", "flags/seeds/000-type2.flags"):
        check = ("train", f"--flagfile={flagfile}", "--wd=0.18", "--only_check_args")
        _python(program, *check, python=python, cwd=tmp_path)
    usage = _python(program, "lr-find", "--help", python=python, cwd=tmp_path)
    assert "--num_steps" in usage and "python -m tfsc.lr_find" in usage


@pytest.mark.slow  # short form: the two tests above
def test_it_installs_with_its_dependencies_and_trains(wheel, tmp_path):
    python = _environment(tmp_path / "env")
    _install(wheel, python)
    tiny = ("--model=resnet_v2([1])", "--train_examples=100", "--batch_size=50", "--epochs=1")
    run = ("train", "--flagfile=digits.flags", *tiny, "--run_dir=run")
    out = _python(python.with_name("tfsc"), *run, python=python, cwd=tmp_path)
    assert "done: validation accuracy" in out
    assert (tmp_path / "run" / "export" / "saved_model" / "saved_model.pb").is_file()
