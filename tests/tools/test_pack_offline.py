"""pack_offline.py and the unpack.py it writes: tiny wheels, tiny pieces, a real training."""

import hashlib
import importlib.util
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import offline_wheels
import pack_offline
import pytest
import unpack_offline
from commands import ROOT
from packaging.requirements import Requirement

from tfsc.errors import TfscError

TOOL = ROOT / "tools" / "offline" / "pack_offline.py"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# What some machines do not have, as unpack.py meets it.
NO_LZMA = "sys.modules['lzma'] = None"
NO_VENV = "import importlib.util; importlib.util.find_spec = lambda name: None"


def _pack(*flags, **options):
    return subprocess.run(
        [sys.executable, TOOL, *flags], capture_output=True, text=True, timeout=100, **options
    )


def _unpack(pack, *arguments, lacking="pass", **options):
    script = f"import runpy, sys; {lacking}; del sys.argv[0]; runpy.run_path(*sys.argv[:1], None, "
    return subprocess.run(
        [sys.executable, "-c", script + "'__main__')", pack / "unpack.py", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


def _contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _manifest(pack):
    return json.loads((pack / "MANIFEST.json").read_text())


def _wheel(folder, name, files, needs=(), tag="py3-none-any"):
    """A wheel of version 1.0 with such files, the last one executable."""
    info = f"{name}-1.0.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0"]
    files = {
        f"{info}/METADATA": "\n".join([*metadata, *(f"Requires-Dist: {need}" for need in needs)]),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **files,
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (member, text) in enumerate({f"{info}/RECORD": record, **files}.items()):
            entry = zipfile.ZipInfo(member)
            entry.external_attr = (0o755 if number == len(files) else 0o644) << 16
            archive.writestr(entry, text)
    return path


def _dataset(tfds, name="toy", version="1.0.0", shards=2):
    folder = tfds / name / version
    folder.mkdir(parents=True)
    splits = [{"name": split, "shardLengths": ["1"] * shards} for split in ("train", "test")]
    info = {"name": name, "version": version, "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for split in ("train", "test"):
        for shard in range(shards):
            file = folder / f"{name}-{split}.tfrecord-{shard:05}-of-{shards:05}"
            file.write_bytes(os.urandom(1000))
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """`toy` needs `helper`; neither is on any index."""
    folder = tmp_path_factory.mktemp("wheels")
    header = "tensorflow/include/toy.h"
    program = {"toy/__init__.py": "import helper\n", header: "int;", "toy/tool": "#!/bin/sh\n"}
    _wheel(folder, "toy_package_1", program, ["toy-package-2>=1", "absent; python_version<'3'"])
    _wheel(folder, "toy_package_2", {"toy_package_2-1.0.data/purelib/helper.py": "word = 'here'\n"})
    _wheel(folder, "needless", {"needless.py": ""})
    (folder / "requirements.txt").write_text("# what this needs\ntoy-package-0 >= 1  # one\n\n")
    return folder


@pytest.fixture(scope="module")
def pack(tmp_path_factory, wheels):
    """A pack of code, two wheels and a dataset in pieces below 50 kB."""
    out = tmp_path_factory.mktemp("pack")
    tfds = tmp_path_factory.mktemp("tfds")
    flags = (f"--requirements={wheels / 'requirements.txt'}", f"--wheels={wheels}")
    data = _dataset(tfds)
    _dataset(tfds, name="other")
    result = _pack(
        f"--out={out}",
        "--piece_mb=0.05",
        "--replace=toy_package_0=toy-package-1",
        f"--data={tfds / 'toy'}",
        "--level=1",
        *flags,
    )
    assert result.returncode == 0, result.stderr
    assert "2 wheels, data: toy/1.0.0" in result.stdout
    return out, data


@pytest.fixture
def lab(tmp_path, pack):
    """The launcher of a pack that is unpacked where another tfsc and another repository are."""
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=other"], check=True)
    (tmp_path / "tfsc.py").write_text("raise SystemExit('not this one')")
    result = _unpack(pack[0], "lab", lacking=NO_VENV, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    launcher, *_ = result.stdout.splitlines()[-1].split()
    assert launcher == str(tmp_path / "lab/python")
    return lambda *arguments: subprocess.run(
        [launcher, *arguments],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_launcher_takes_the_packed_code_for_tfsc(lab):
    checked = lab("-m", "tfsc.train", "--dataset=digits", "--only_check_args")
    assert checked.returncode == 0, checked.stderr
    refused = lab("-m", "tfsc.train", "--wd=-1", "--only_check_args")
    assert refused.returncode == 2 and "--wd=-1" in refused.stderr


@pytest.mark.slow  # the launcher and what is unpacked are the tests beside it
def test_code_unpacked_into_an_empty_directory_trains(tmp_path, lab):
    recipe = (
        "--dataset=digits",
        "--model=resnet_v2([1])",
        "--train_examples=50",
        "--batch_size=25",
    )
    recipe += ("--epochs=1", "--schedule=1e-3", "--augment=none", "--noexport")
    trained = lab("-m", "tfsc.train", *recipe, "--run_dir=run")
    assert trained.returncode == 0, trained.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "done"
    start = json.loads((tmp_path / "run/provenance.json").read_text())["starts"][-1]
    assert start["commit"] is None


def test_every_piece_is_below_the_size_and_as_the_manifest_says(pack):
    out, _ = pack
    manifest = _manifest(out)
    pieces = sorted(out.glob("piece-*"))
    assert len(pieces) > 3
    assert [piece.name for piece in pieces] == [f"piece-{n:03}" for n in range(len(pieces))]
    assert all(piece.stat().st_size == 49_999 for piece in pieces[:-1])
    assert 0 < pieces[-1].stat().st_size < 50_000
    assert manifest["pieces"] == [
        {
            "name": piece.name,
            "bytes": piece.stat().st_size,
            "sha256": hashlib.sha256(piece.read_bytes()).hexdigest(),
        }
        for piece in pieces
    ]
    assert manifest["bytes"] == sum(piece["bytes"] for piece in manifest["pieces"])
    assert manifest["bytes"] == sum(manifest["streams"])
    assert manifest["python"] == PYTHON and manifest["data"] == ["toy/1.0.0"]
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert manifest["commit"]["id"] == commit


def test_streams_are_packed_and_unpacked_in_order_by_several_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_offline, "BLOCK", 1000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3))
    content = os.urandom(20_500)
    with (
        pack_offline.Pieces(tmp_path, 7000) as pieces,
        pack_offline.Compressed(pieces, 0) as sink,
    ):
        sink.write(content[:9_999])
        sink.write(content[9_999:])
    assert len(sink.streams) == 21
    paths = [tmp_path / piece["name"] for piece in pieces.written]
    assert len(paths) > 2
    together, real = threading.Barrier(3), lzma.decompress

    def decompress(data):
        together.wait(timeout=60)  # for two others
        return real(data)

    with monkeypatch.context() as patch:
        patch.setattr(lzma, "decompress", decompress)
        with unpack_offline.decompressed(paths, sink.streams) as stream:
            assert stream.read() == content
    with unpack_offline.decompressed(paths, sink.streams) as stream:  # as where a disk is full
        assert stream.read(10) == content[:10]


def test_any_xz_reads_the_pieces(pack):
    out, _ = pack
    joined = b"".join(piece.read_bytes() for piece in sorted(out.glob("piece-*")))
    with tarfile.open(fileobj=io.BytesIO(joined), mode="r:xz") as archive:
        assert "code/tfsc/train.py" in archive.getnames()


@pytest.mark.parametrize("lacking", [NO_VENV, f"{NO_VENV}; {NO_LZMA}"])
def test_unpacked_are_tracked_files_the_dataset_and_packages_that_import(tmp_path, pack, lacking):
    if NO_LZMA in lacking and not shutil.which("xz"):
        pytest.skip("needs the program xz")
    out, data = pack
    result = _unpack(out, tmp_path, lacking=lacking)
    assert result.returncode == 0, result.stderr
    listed = ["git", "ls-files", "-z"]
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    assert _contents(tmp_path / "code") == {
        name: (ROOT / name).read_bytes() for name in tracked if name
    }
    assert os.access(tmp_path / "code/tools/train", os.X_OK)
    assert not os.access(tmp_path / "code/README.md", os.X_OK)
    assert _contents(tmp_path / "data") == {
        f"toy/1.0.0/{name}": content for name, content in _contents(data).items()
    }
    assert os.access(tmp_path / "packages/toy/tool", os.X_OK)
    assert not (tmp_path / "packages/needless.py").exists()
    words = "import os, toy, helper; print(helper.word, os.environ['TFDS_DATA_DIR'])"
    said = subprocess.run([tmp_path / "python", "-c", words], capture_output=True, text=True)
    assert said.stdout.split() == ["here", str(tmp_path / "data")], said.stderr


PIP = importlib.util.find_spec("pip")
# Python's own ensurepip takes four seconds to compile the pip that it brings.
LINKED_PIP = (
    PIP
    and f"""
import pathlib, subprocess
def run(line, *, run=subprocess.run, **options):
    if line[1:3] != ["-m", "venv"]:
        return run(line, **options)
    made = run([*line, "--without-pip"], **options)
    (packages,) = pathlib.Path(line[3]).glob("lib/python*/site-packages")
    (packages / "pip").symlink_to({str(Path(PIP.origin).parent)!r})
    return made
subprocess.run = run
"""
)


@pytest.mark.parametrize(
    "lacking",
    [
        pytest.param(
            f"exec({LINKED_PIP!r})",
            id="pip linked",
            marks=pytest.mark.skipif(PIP is None, reason="pip is not installed"),
        ),
        # Short form: the line above.
        pytest.param("pass", id="ensurepip", marks=pytest.mark.slow),
    ],
)
def test_packages_go_into_a_virtual_environment_where_python_can(tmp_path, pack, lacking):
    hostile = {**os.environ, "PIP_USER": "1", "PIP_REQUIRE_HASHES": "1"}
    result = _unpack(pack[0], tmp_path, lacking=lacking, env=hostile)
    assert result.returncode == 0, result.stderr
    words = "import toy, helper, sys; print(sys.prefix)"
    said = subprocess.run([tmp_path / "python", "-c", words], capture_output=True, text=True)
    assert said.stdout.strip() == str(tmp_path / "venv"), said.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "MANIFEST.json",
        "code",
        "data",
        "python",
        "venv",
    ]


def test_headers_are_left_out_and_all_else_of_a_wheel_is_kept(tmp_path, wheels):
    for headers in (False, True):
        wheel = tmp_path / next(wheels.glob("toy_package_1-*")).name
        shutil.copyfile(wheels / wheel.name, wheel)
        before = zipfile.ZipFile(wheel)
        expected = {name: before.read(name) for name in before.namelist()}
        if not headers:
            del expected["tensorflow/include/toy.h"]
            record = "toy_package_1-1.0.dist-info/RECORD"
            expected[record] = expected[record].replace(b"tensorflow/include/toy.h,,\n", b"")
        offline_wheels.store(wheel, headers=headers)
        after = zipfile.ZipFile(wheel)
        assert {name: after.read(name) for name in after.namelist()} == expected
        assert {entry.compress_type for entry in after.infolist()} == {zipfile.ZIP_STORED}


def test_a_damaged_wheel_is_named(tmp_path):
    wheel = _wheel(tmp_path, "broken", {"broken.py": "content = 1\n" * 100})
    content = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        content[archive.getinfo("broken.py").header_offset + 45] ^= 255
    wheel.write_bytes(content)
    with pytest.raises(TfscError, match=r"broken-1\.0-py3-none-any\.whl is damaged"):
        offline_wheels.store(wheel, headers=False)


def test_the_same_again_gives_the_same_bytes_and_leaves_no_piece_of_a_longer_pack(tmp_path):
    flags = (f"--out={tmp_path}", "--no_wheels", "--level=0")
    packs = []
    for size in ("0.2", "0.1", "0.2"):
        assert _pack(*flags, f"--piece_mb={size}").returncode == 0
        packs.append(_contents(tmp_path))
    assert len(packs[1]) > len(packs[0])
    assert packs[2] == packs[0]


def test_a_damaged_and_a_missing_piece_are_named_and_nothing_is_unpacked(tmp_path, pack):
    copy, target = tmp_path / "pack", tmp_path / "lab"
    shutil.copytree(pack[0], copy)
    assert _unpack(copy, "--check").stdout.startswith("all ")
    content = bytearray((copy / "piece-001").read_bytes())
    content[100] ^= 1
    (copy / "piece-001").write_bytes(content)
    (copy / "piece-000").unlink()
    (copy / "piece-002").write_bytes(b"short")
    for arguments in (["--check"], [target]):
        result = _unpack(copy, *arguments)
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
        assert "3 of " in result.stderr and "piece-000 is missing" in result.stderr
        assert "piece-001 is damaged (its SHA-256 differs)" in result.stderr
        assert "piece-002 is damaged (5 bytes of 49999)" in result.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (tarfile.TarInfo("../outside"), "leads out of the directory"),
        (tarfile.TarInfo("/outside"), "leads out of the directory"),
        (tarfile.TarInfo("link"), "is no plain file"),
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused_and_leaves_nothing(tmp_path, member, words):
    if member.name == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("first"))
        tar.addfile(member)
    content = lzma.compress(archive.getvalue())
    digest = hashlib.sha256(content).hexdigest()
    piece = {"name": "piece-000", "bytes": len(content), "sha256": digest}
    out, target = tmp_path / "pack", tmp_path / "lab"
    out.mkdir()
    shutil.copyfile(ROOT / "tools/offline/unpack_offline.py", out / "unpack.py")
    (out / "piece-000").write_bytes(content)
    manifest = {"format": 2, "wheels": {}, "streams": [len(content)], "pieces": [piece]}
    (out / "MANIFEST.json").write_text(json.dumps(manifest))
    result = _unpack(out, target)
    assert result.returncode == 1
    assert words in result.stderr and len(result.stderr.splitlines()) == 1
    assert list(target.iterdir()) == [] and not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pack: pack.joinpath("MANIFEST.json").unlink(), "MANIFEST.json is missing"),
        (lambda pack: pack.joinpath("MANIFEST.json").write_text("{"), "is damaged"),
        (
            lambda pack: pack.joinpath("MANIFEST.json").write_text(
                json.dumps({**_manifest(pack), "python": "3.99"})
            ),
            f"for Python 3.99, this is {PYTHON}; call it with python3.99",
        ),
        (lambda pack: pack.joinpath("lab").touch(), "must be a new or an empty directory"),
    ],
)
def test_unpacking_says_in_one_line_what_is_wrong(tmp_path, pack, change, words):
    copy = tmp_path / "pack"
    shutil.copytree(pack[0], copy)
    change(copy)
    result = _unpack(copy, copy / "lab")
    assert result.returncode == 1 and words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def _two_versions(folder):
    _dataset(folder / "tfds", version="1.0.0")
    return _dataset(folder / "tfds", version="2.0.0").parent


def _incomplete(folder):
    data = _dataset(folder / "tfds")
    next(data.glob("toy-train.*")).unlink()
    return data


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--piece_mb=0"], 2, "--piece_mb: must be a number of megabytes above 0.001, received"),
        (["--piece_mb=nan"], 2, "received 'nan'"),
        (["--level=10"], 2, "--level"),
        (["--python=3.9"], 2, "--python=3.9: must be a version as 3.12, >=3.11"),
        (["--python=three"], 2, "--python=three: must be a version"),
        (["--extra=gpu"], 2, "--extra=gpu: must be one of cuda, test"),
        (["--replace=torch=jax"], 2, "--replace=torch=jax: must replace one of absl-py, "),
        (["--replace=torch"], 2, "--replace: must be NAME=OTHER, received 'torch'"),
        (["--wheels=absent"], 2, "--wheels=absent: must be a directory"),
        (["--requirements=absent"], 2, "--requirements=absent: cannot be read"),
        (["--no_wheels", "--wheels=."], 2, "--wheels: must not be given beside --no_wheels"),
        (["--no_wheels", "--data=absent"], 2, "--data=absent: must be the directory of one"),
        (["--no_wheels", _two_versions], 2, "it holds 1.0.0, 2.0.0"),
        (["--no_wheels", _incomplete], 1, "has 1 of the 2 files of split 'train'"),
    ],
)
def test_a_bad_flag_is_one_line_with_flag_value_and_rule(
    tmp_path, monkeypatch, capsys, flags, code, words
):
    flags = [flag if isinstance(flag, str) else f"--data={flag(tmp_path)}" for flag in flags]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pack_offline.py", "--out=out", *flags])
    with pytest.raises(SystemExit) as end:
        pack_offline.main()
    errors = capsys.readouterr().err.splitlines()
    assert end.value.code == code and words in errors[-1]
    assert len([line for line in errors if not line.startswith("usage:")]) == 1
    assert not (tmp_path / "out").exists()


def test_a_line_that_is_no_requirement_is_named(tmp_path):
    (tmp_path / "list").write_text("numpy\n-r other\n")
    result = _pack("--out=out", "--requirements=list", cwd=tmp_path)
    assert result.returncode == 2 and "line 2 must be a requirement" in result.stderr


def test_a_directory_with_anything_else_is_not_written_to(tmp_path):
    (tmp_path / "piece-of-mine").touch()
    result = _pack(f"--out={tmp_path}", "--no_wheels")
    assert result.returncode == 2 and "but holds piece-of-mine" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["piece-of-mine"]


def test_a_package_that_cannot_be_had_is_named_in_pips_words(tmp_path, wheels):
    (tmp_path / "list").write_text("no-such-package-anywhere\n")
    result = _pack("--out=out", "--requirements=list", f"--wheels={wheels}", cwd=tmp_path)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "pip download failed: No matching distribution found for no-such" in result.stderr


def test_what_only_the_other_python_needs_is_found_lacking():
    older, newer = (Requirement(f"b; python_version{sign}'3.12'") for sign in ("<", ">="))
    extra = Requirement("c>=2; extra == 'cuda'")
    one = offline_wheels.Version("1.0")
    have = {"a": offline_wheels.Wheel(one, (older, extra)), "c": offline_wheels.Wheel(one, ())}

    def lacking(wanted, python):
        target = offline_wheels.environment(python)
        return list(map(str, offline_wheels.lacking(have, [Requirement(wanted)], target)))

    assert lacking("a", "3.12") == []
    assert lacking("a", "3.11") == [str(older)]
    assert lacking("a[cuda]", "3.12") == [str(extra)]
    assert lacking("a>1", "3.12") == ["a>1"]
    have["a"] = offline_wheels.Wheel(one, (newer,))
    assert lacking("a", "3.12") == [str(newer)] and lacking("a", "3.11") == []


def test_a_full_disk_is_one_line_with_the_path_and_leaves_nothing(tmp_path):
    for name in ("small", "pack"):
        (tmp_path / name).mkdir()
    name_space = ["unshare", "--user", "--map-root-user", "--mount"]
    script = """
        mount -t tmpfs -o size=100k tmpfs small || exit 77
        "$1" "$2" --out=small --no_wheels --level=0 2>packing; echo $? >>packing; ls -A small
        "$1" "$2" --out=pack --no_wheels --level=0 >&2
        "$1" pack/unpack.py small 2>unpacking; echo $? >>unpacking; ls -A small
    """
    try:
        result = subprocess.run(
            [*name_space, "sh", "-c", script, "sh", sys.executable, TOOL],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
        )
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux)")
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip(f"needs user name spaces: {result.stderr.strip()}")
    assert [line for line in result.stdout.splitlines() if " files" not in line] == []
    for name, place in (("packing", "small/piece-000"), ("unpacking", "small/code/")):
        error, code = (tmp_path / name).read_text().splitlines()
        assert code == "1" and place in error and error.endswith("No space left on device")
