"""Wheels for another machine: found by pip, complete for its Python, small when packed."""

import csv
import email
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tfsc import files
from tfsc.errors import RecipeError, TfscError, one_line

MACHINE = platform.machine()
# glibc 2.28 is of 2018: every distribution with Python 3.11 has it, or a newer one, which will do.
PLATFORMS = [
    *(f"manylinux_2_{minor}_{MACHINE}" for minor in range(28, 4, -1)),
    # Older wheels have older names (2.17, 2.12, 2.5).
    *(f"manylinux{name}_{MACHINE}" for name in ("2014", "2010", "1")),
]
# Who needs what of which there is no wheel; pure Python, so that one built here serves everywhere.
SOURCE_ONLY = {"tensorflow-datasets": "promise"}
# Headers serve those who compile against a library: a fifth of TensorFlow's bytes.
HEADERS = re.compile(r"(tensorflow|nvidia/[^/]+)/include/")
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest of a zip file; the same every time
BLOCK = 1 << 20


@dataclass(frozen=True)
class Wheel:
    """A package that is there, and what it needs."""

    version: Version
    needs: tuple[Requirement, ...]


def project_requirements(project: Path, extras: Iterable[str]) -> list[Requirement]:
    """Dependencies that a pyproject.toml declares.

    Raises:
        RecipeError: if it has no such extra.
    """
    declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    optional = declared["optional-dependencies"]
    lines = list(declared["dependencies"])
    for extra in extras:
        if extra not in optional:
            raise RecipeError(f"--extra={extra}: must be one of {', '.join(optional)}")
        lines += optional[extra]
    return [Requirement(line) for line in lines]


def listed_requirements(path: Path) -> list[Requirement]:
    """Requirements of a file with one a line; # begins a comment.

    Raises:
        RecipeError: naming the line that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"--requirements={path}: cannot be read ({one_line(error)})") from None
    requirements = []
    for number, line in enumerate(lines, start=1):
        if text := re.sub(r"(^|\s)#.*", "", line).strip():
            try:
                requirements.append(Requirement(text))
            except InvalidRequirement:
                raise RecipeError(
                    f"--requirements={path}: line {number} must be a requirement as "
                    f"'numpy>=2.0', received {text!r}"
                ) from None
    return requirements


def replaced(requirements: list[Requirement], changes: Mapping[str, str]) -> list[Requirement]:
    """The same requirements of other packages, such as tensorflow-cpu for tensorflow.

    Raises:
        RecipeError: if none is of a package to be replaced.
    """
    changes = {canonicalize_name(name): new for name, new in changes.items()}
    names = {canonicalize_name(requirement.name) for requirement in requirements}
    for name in changes.keys() - names:
        raise RecipeError(
            f"--replace={name}={changes[name]}: must replace one of {', '.join(sorted(names))}"
        )
    result = [Requirement(str(requirement)) for requirement in requirements]
    for requirement in result:
        requirement.name = changes.get(canonicalize_name(requirement.name), requirement.name)
    return result


def check_python(python: str, project: Path) -> None:
    """A version that pyproject.toml allows.

    Raises:
        RecipeError: if it is none.
    """
    allowed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["requires-python"]
    if not re.fullmatch(r"3\.\d+", python) or python not in SpecifierSet(allowed):
        raise RecipeError(f"--python={python}: must be a version as 3.12, {allowed}")


def collect(
    requirements: list[Requirement], python: str, source: Path | None, folder: Path
) -> list[Path]:
    """Have pip bring all wheels into `folder`.

    Args:
        requirements: what is needed; pip adds what that needs in turn.
        python: version of Python they are for, as "3.12".
        source: directory with wheels; None: the package index, as pip is set up.
        folder: an empty directory.

    Returns:
        The wheels, by name.

    Raises:
        TfscError: with pip's words, or naming what is lacking.
    """
    built, found = folder / "built", folder / "found"
    options = ["--only-binary=:all:", f"--python-version={python}", f"--find-links={built}"]
    options += [f"--platform={name}" for name in PLATFORMS]
    if source is None:
        build_source_only(requirements, built)
    else:
        options += ["--isolated", "--no-index", f"--find-links={source}"]
    target = environment(python)
    # pip weighs markers such as `python_version < "3.12"` for the Python it runs on: what only
    # the other one needs is asked for by name.
    asked = [requirement for requirement in requirements if applies(requirement, (), target)]
    while True:
        shutil.rmtree(found, ignore_errors=True)
        pip("download", *options, f"--dest={found}", *map(unconditional, asked))
        wheels = sorted(found.glob("*.whl"))
        more = lacking(dict(map(read_wheel, wheels)), asked, target)
        if not more:
            return wheels
        known = set(map(unconditional, asked))
        new = [requirement for requirement in more if unconditional(requirement) not in known]
        if not new:
            raise TfscError(f"no wheels for Python {python} of {', '.join(map(str, more))}")
        asked += new


def build_source_only(requirements: list[Requirement], folder: Path) -> None:
    """Build the wheels that nobody offers."""
    for requirement in requirements:
        if name := SOURCE_ONLY.get(canonicalize_name(requirement.name)):
            pip("wheel", "--no-deps", f"--wheel-dir={folder}", name)
            if not list(folder.glob(f"{name}-*-none-any.whl")):
                raise TfscError(f"{name} has no wheel; the one built here fits only this Python")


def pip(*arguments: str) -> None:
    """Call this Python's pip.

    Raises:
        TfscError: with the last error it printed.
    """
    result = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--quiet"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},  # 1980: TIMESTAMP
    )
    if result.returncode:
        said = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR:")] or said or ["no words"]
        raise TfscError(f"pip {arguments[0]} failed: {errors[-1].removeprefix('ERROR: ')}")


def environment(python: str) -> dict[str, str]:
    """What markers of requirements are weighed against: Linux with that Python."""
    return {
        **default_environment(),
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": MACHINE,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def applies(requirement: Requirement, extras: Iterable[str], target: dict[str, str]) -> bool:
    """Whether a package with such extras has this requirement on the target."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**target, "extra": extra}) for extra in ("", *extras)
    )


def unconditional(requirement: Requirement) -> str:
    """A requirement without its marker."""
    return str(requirement).partition(";")[0].strip()


def lacking(
    wheels: Mapping[str, Wheel], requirements: Iterable[Requirement], target: dict[str, str]
) -> list[Requirement]:
    """Requirements, direct or not, that no wheel meets on the target."""
    pending, seen, missing = list(requirements), set(), []
    while pending:
        requirement = pending.pop(0)
        if (text := unconditional(requirement)) in seen:
            continue
        seen.add(text)
        wheel = wheels.get(canonicalize_name(requirement.name))
        if wheel and requirement.specifier.contains(wheel.version, prereleases=True):
            pending += [need for need in wheel.needs if applies(need, requirement.extras, target)]
        else:
            missing.append(requirement)
    return missing


def read_wheel(path: Path) -> tuple[str, Wheel]:
    """Name of a wheel's package, with its version and needs.

    Raises:
        TfscError: if it is no wheel.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if is_metadata(name))
            fields = email.message_from_bytes(archive.read(name))
        needs = tuple(map(Requirement, fields.get_all("Requires-Dist", [])))
        return canonicalize_name(fields["Name"]), Wheel(Version(fields["Version"]), needs)
    except (zipfile.BadZipFile, StopIteration, TypeError, ValueError) as error:
        raise TfscError(f"{path.name} is no readable wheel: {one_line(error)}") from None


def is_metadata(name: str) -> bool:
    return re.fullmatch(r"[^/]+\.dist-info/METADATA", name) is not None


def store(wheel: Path, headers: bool) -> None:
    """Rewrite a wheel with its files uncompressed, for an archive compresses them better.

    Args:
        wheel: what pip brought.
        headers: whether to keep headers of C++.

    Raises:
        TfscError: if it is damaged.
    """
    copy = wheel.with_suffix(".stored")
    try:
        with files.naming(copy), zipfile.ZipFile(wheel) as old, zipfile.ZipFile(copy, "w") as new:
            copy_members(old, new, headers)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise TfscError(f"{wheel.name} is damaged: {one_line(error)}") from None
    copy.replace(wheel)


def copy_members(old: zipfile.ZipFile, new: zipfile.ZipFile, headers: bool) -> None:
    """Copy a wheel's files; its list of them follows what is left out."""
    members = old.infolist()
    kept = [member for member in members if headers or not HEADERS.match(member.filename)]
    for member in kept:
        entry = zipfile.ZipInfo(member.filename, TIMESTAMP)
        entry.external_attr, entry.file_size = member.external_attr, member.file_size
        if len(kept) < len(members) and is_record(member.filename):
            new.writestr(entry, shortened(old.read(member), kept))
        else:
            with old.open(member) as content, new.open(entry, "w") as place:
                shutil.copyfileobj(content, place, BLOCK)


def is_record(name: str) -> bool:
    return re.fullmatch(r"[^/]+\.dist-info/RECORD", name) is not None


def shortened(record: bytes, kept: list[zipfile.ZipInfo]) -> bytes:
    """A wheel's list of its files without those that were left out."""
    names = {member.filename for member in kept}
    text = io.StringIO()
    rows = csv.reader(io.StringIO(record.decode(), newline=""))
    csv.writer(text, lineterminator="\n").writerows(row for row in rows if row[0] in names)
    return text.getvalue().encode()
