"""Flagfiles: valid ones as absl reads them, all others refused in one line, at once."""

import os
import tempfile
import time
from pathlib import Path

import pytest
from command_lines import recipe_by_absl, recipe_of
from commands import call
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tfsc import __version__
from tfsc.command_line.flagfile import Argument, expand, shipped
from tfsc.errors import RecipeError, shown
from tfsc.recipe import Recipe, settings

_FUZZ = hypothesis_settings(max_examples=80, deadline=None)


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Paths in flagfiles are relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(**files):
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        Path(f"{name}.flags").write_bytes(data)


def _words(*arguments):
    return [argument.text for argument in expand(arguments)]


def _refusal(*arguments):
    with pytest.raises(RecipeError) as caught:
        recipe_of(*arguments)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= 400
    return message


# --- valid files --------------------------------------------------------------------------------


def test_flags_stand_where_the_file_is_named_each_with_its_line():
    _write(a="# Comment\n\n--wd=0.1\n  --noflip  \n// Another\n--seed=3")
    assert expand(["--epochs=1", "--flagfile=a.flags", "--wd=0.3"]) == [
        Argument("--epochs=1"),
        Argument("--wd=0.1", "a.flags line 3"),
        Argument("--noflip", "a.flags line 4"),
        Argument("--seed=3", "a.flags line 6"),
        Argument("--wd=0.3"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--flagfile=a.flags"],
        ["-flagfile=a.flags"],
        ["--flagfile", "a.flags"],
        ["-flagfile", "a.flags"],
        ["--flagfile= ./a.flags "],
    ],
)
def test_a_file_may_be_named_in_several_ways(words):
    _write(a="--wd=0.1\n")
    assert _words(*words) == ["--wd=0.1"]


def test_the_last_of_several_values_counts_whether_typed_or_from_a_file():
    _write(a="--wd=0.1\n--flagfile=b.flags\n--seed=1\n", b="--wd=0.2\n--seed=2\n")
    assert recipe_of("--wd=0.3", "--flagfile=a.flags").wd == 0.2
    assert recipe_of("--flagfile=a.flags", "--wd=0.3").wd == 0.3
    assert recipe_of("--flagfile=a.flags").seed == 1


def test_the_home_directory_may_be_written_as_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(a="--wd=0.1\n")
    assert _words("--flagfile=~/a.flags", "--flagfile", "~/a.flags") == ["--wd=0.1"] * 2


@pytest.mark.parametrize(
    "content", [b"--wd=0.1\r\n--seed=3\r\n", b"\xef\xbb\xbf--wd=0.1\n--seed=3"]
)
def test_files_of_other_systems_are_read(content):
    _write(a=content)
    assert _words("--flagfile=a.flags") == ["--wd=0.1", "--seed=3"]


@pytest.mark.parametrize("name", ["seeds/000-type2.flags", "flags/seeds/000-type2.flags"])
def test_a_file_that_is_not_there_is_looked_for_among_those_that_are_shipped(name, directory):
    whole = recipe_of(f"--flagfile={shipped() / 'seeds' / '000-type2.flags'}")
    assert recipe_of(f"--flagfile={name}") == whole != Recipe()
    place = directory / name
    place.parent.mkdir(parents=True)
    place.write_text("--wd=0.5")  # one that is there counts
    assert recipe_of(f"--flagfile={name}") == Recipe(wd=0.5)


@pytest.mark.parametrize(
    "name", ["seeds/no.flags", "../flags/digits.flags", "seeds", "/digits.flags"]
)
def test_nothing_else_is_taken_for_a_shipped_file(name):
    assert _refusal(f"--flagfile={name}").startswith(f"--flagfile={name}: ")


def test_a_value_may_stand_on_the_next_line():
    _write(a="--epochs\n3\n--schedule\n[1,0] lin [2,3]\n")
    recipe = recipe_of("--flagfile=a.flags")
    assert recipe == recipe_by_absl("--flagfile=a.flags")
    assert (recipe.epochs, recipe.schedule) == (3, "[1,0] lin [2,3]")


def test_two_dashes_end_the_flags():
    _write(a="--epochs=3\n--\n")
    assert recipe_of("--flagfile=a.flags").epochs == 3
    assert "unexpected words: --wd=1" in _refusal("--flagfile=a.flags", "--wd=1")
    assert _words("--", "--flagfile=none") == ["--", "--flagfile=none"]


def test_a_file_may_be_read_twice_one_after_the_other():
    _write(a="--flagfile=b.flags\n--flagfile=b.flags\n", b="--wd=0.1\n")
    assert _words("--flagfile=a.flags") == ["--wd=0.1"] * 2


# --- what is wrong in a file --------------------------------------------------------------------


def test_an_unknown_flag_names_file_line_and_version():
    _write(a="--flagfile=b.flags\n", b="\n--zeta_window=3\n")
    assert _refusal("--flagfile=a.flags") == (
        f"b.flags line 2: --zeta_window=3: this version of tfsc ({__version__}) has no flag named "
        "zeta_window; the file may be for a newer version"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("--epochs=x", "--epochs=x: must be a whole number from 1 to 100000"),
        ("--precision=fp4", "--precision=fp4: must be one of fp32, tf32, bf16, fp16"),
        ("--optimizer=adam\n--wd=0.19", "--wd=0.19: must be 0 with --optimizer=adam"),
        ("--dataset=../x", "--dataset=../x: must be a name, not a path"),
        ("--noexport=3", "--noexport=3 does not take an argument"),
        ("--epochs", "Missing value for flag --epochs"),
        ("epochs=3", "unexpected words: epochs=3; settings are written --name=value"),
        ("--epochs 3", "--epochs 3: must be written --name=value"),
        ("--wd=\x1b[2J", r"--wd=\x1b[2J: must be text, without control characters"),
        ("# \0", r"# \x00: must be text, without control characters"),
        ("--flagfile=", "--flagfile=: must name a file"),
        ("--flagfile", "--flagfile: must be --flagfile=PATH in a flagfile"),
        ("--flagfile=b.flags", "--flagfile=b.flags: No such file or directory"),
        ("--x" * 10_000, "--x--x--x--x"),
        ("--wd=" + "9" * 500_000, "--wd=99999"),
        ("--run_dir=\u202egnol", r"--run_dir=\u202egnol: must be text on one line"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(content, message):
    _write(a=f"--wd=0.2\n\n{content}\n")
    line = 2 + len(content.split("\n"))  # the last line of the content is at fault
    assert _refusal("--flagfile=a.flags").startswith(f"a.flags line {line}: {message}")


def test_a_bad_schedule_is_refused_with_its_place_and_a_caret():
    _write(a="--wd=0.2\n--schedule=[8e-4, 0]lni[1e-3, 5]\n")
    with pytest.raises(RecipeError) as caught:
        recipe_of("--flagfile=a.flags")
    first, text, caret = str(caught.value).split("\n")
    assert first.startswith("a.flags line 2: --schedule: unknown shape 'lni', allowed: lin, cos")
    assert text[caret.index("^") :] == "lni[1e-3, 5]"


def test_a_rule_about_several_values_names_the_place_of_the_one_it_is_about():
    _write(a="--wd=0.2\n", b="--optimizer=adam\n")
    typed = _refusal("--flagfile=b.flags", "--flagfile=a.flags", "--wd=0.3")
    assert typed.startswith("--wd=0.3: must be 0")
    from_file = _refusal("--flagfile=b.flags", "--flagfile=a.flags")
    assert from_file.startswith("a.flags line 1: --wd=0.2: must be 0")


# --- files that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--flagfile=", "--flagfile=: must name a file"),
        ("--flagfile=  ", "--flagfile=: must name a file"),
        ("--flagfile", "--flagfile=: must name a file"),
        ("--flagfile=none", "--flagfile=none: No such file or directory"),
        ("--flagfile=.", "--flagfile=.: must be a regular file, is a directory"),
        ("--flagfile=/dev/null", "--flagfile=/dev/null: must be a regular file, is a device or"),
        ("--flagfile=a\0b", r"--flagfile=a\x00b: embedded null byte"),
        ("--flagfile=~\0", r"--flagfile=~\x00: embedded null byte"),
        ("--flagfile=\ud800", r"--flagfile=\ud800: 'utf-8' codec can't encode"),
        ("--flagfile=~nobody-of-this-name/a", "--flagfile=~nobody-of-this-name/a: No such file"),
        ("--flagfile=" + "x" * 100_000, "--flagfile=xxx"),
        ("--flagfile=" + "x/" * 50_000, "--flagfile=x/x/x"),
    ],
)
def test_what_is_no_file_is_refused(argument, message):
    assert _refusal(argument).startswith(message)


def test_binary_and_too_large_files_are_refused(fault):
    _write(a=b"--wd=0.1\n\x89PNG\xff", b=b"# " + b"x" * (1 << 20), c=b"#" + b"x" * ((1 << 20) - 1))
    binary = _refusal("--flagfile=a.flags")
    assert binary == "--flagfile=a.flags: must be UTF-8 text, is not at byte 10"
    large = _refusal("--flagfile=b.flags")
    assert large == "--flagfile=b.flags: flagfiles must have at most 1 MiB in all"
    assert _words("--flagfile=c.flags") == []
    fault("bad input", "binary file as a flagfile", f"refused: {binary}")
    fault("bad input", "flagfile larger than 1 MiB", f"refused: {large}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_refused():
    _write(a="--wd=0.1\n")
    Path("a.flags").chmod(0)
    assert _refusal("--flagfile=a.flags") == "--flagfile=a.flags: Permission denied"


@pytest.mark.parametrize("name", ["b.flags", "./b.flags", "link.flags"])
def test_files_that_include_each_other_are_refused_with_the_chain(name):
    _write(a="--flagfile=b.flags\n", b="# b\n--flagfile=c.flags\n", c=f"--flagfile={name}\n")
    Path("link.flags").symlink_to("b.flags")
    assert _refusal("--flagfile=a.flags") == (
        f"c.flags line 1: --flagfile={name}: includes itself (a.flags > b.flags > c.flags > {name})"
    )


def test_includes_that_multiply_are_refused_at_once():
    start = time.process_time()
    for level in range(40):
        include = f"--flagfile={level + 1}.flags\n"
        _write(**{str(level): include * 2})
    _write(**{"40": "--wd=0.1\n"})
    assert "must be one of at most 100 flagfiles in all" in _refusal("--flagfile=0.flags")
    assert time.process_time() - start < 2


def test_a_deep_chain_of_includes_is_refused_and_not_a_full_stack():
    _write(**{str(level): f"--flagfile={level + 1}.flags\n" for level in range(1500)})
    assert "must be one of at most 100 flagfiles in all" in _refusal("--flagfile=0.flags")


def test_many_lines_are_read_within_two_seconds():
    start = time.process_time()
    _write(a="--export\n" * 110_000 + "--x")
    assert "a.flags line 110001: --x: " in _refusal("--flagfile=a.flags")
    assert time.process_time() - start < 2


# --- as a process: what would hang or show a traceback -------------------------------------------


@pytest.mark.parametrize(
    ("path", "tried"), [("/dev/zero", "/dev/zero as a flagfile"), ("pipe", "FIFO as a flagfile")]
)
def test_a_device_or_a_fifo_is_refused_without_waiting(path, tried, tmp_path, fault):
    os.mkfifo("pipe")
    result = call("train", f"--flagfile={path}", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"tfsc.train: --flagfile={path}: must be a regular file, is a device or pipe\n"
    )
    fault("bad input", tried, f"exit code 2: {result.stderr}")


def test_a_file_that_includes_itself_is_refused_in_one_line(tmp_path, fault):
    _write(a="--wd=0.1\n--flagfile=./a.flags\n")
    result = call("train", "--flagfile=a.flags", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "tfsc.train: a.flags line 2: --flagfile=./a.flags: includes itself (a.flags > ./a.flags)\n"
    )
    fault("bad input", "flagfile that includes itself", f"exit code 2: {result.stderr}")


# --- any file -----------------------------------------------------------------------------------

_NAMES = st.sampled_from(sorted(settings()))
_VALID_LINES = (
    "--wd=0.2|--noexport|--export|--optimizer=sgd|--seed|7|--seed=8|--noflip|# x|//|"
    "--model=resnet_v2([1,2])|--schedule=[1,0] lin [2,3]|-epochs=3|--undefok=new|--new=3||"
)
_VALID = st.sampled_from(_VALID_LINES.split("|"))
_ODD_LINES = (
    "--|-|--no|--flagfile=b.flags|--flagfile=none|--flagfile| # x| --flagfile=b.flags|\x0c|"
    "\ufeff--wd=1|--wd=\t1|--w d=1|--schedule=[1,0]lni[2,3]|--dataset=../x|--optimizer=adam"
)
_LINES = (
    _VALID
    | st.builds("--{}={}".format, _NAMES, st.text(max_size=8))
    | st.text(max_size=12)
    | st.sampled_from(_ODD_LINES.split("|"))
)
_CONTENTS = (
    st.lists(_LINES, max_size=6).map("\n".join).map(lambda text: text.encode(errors="replace"))
    | st.binary(max_size=30)
    | st.builds(bytes.__add__, st.sampled_from([b"--wd=0.2\n", b"# "]), st.binary(max_size=8))
)


# The last ones are about what was typed.
_STARTS = (
    "a.flags line ",
    "b.flags line ",
    "--",
    "Missing value for flag --",
    "Unknown command line flag '",
    "unexpected words: ",
)


@_FUZZ
@given(_CONTENTS, _CONTENTS, st.lists(_VALID, max_size=2))
def test_any_files_are_a_recipe_or_one_line_with_a_place(a, b, typed):
    _write(a=a, b=b)
    try:
        recipe = recipe_of("--flagfile=a.flags", *typed)
    except RecipeError as error:
        first, *more = str(error).split("\n")
        assert first.isprintable()
        assert len(first) <= 400
        assert first.startswith(_STARTS)
        # A text of its own language and a caret below it.
        texts = ["batch_schedule", *(n for n, setting in settings().items() if setting.parse_text)]
        assert not more or (any(f"--{name}: " in first for name in texts) and len(more) == 2)
        return
    assert Recipe.from_flagfile(recipe.flagfile()) == recipe.replace(run_dir="")


@_FUZZ
@given(st.lists(_VALID | st.just("--flagfile=b.flags")), st.lists(_VALID), st.lists(_VALID))
def test_whatever_is_accepted_absl_reads_alike(a, b, typed):
    _write(a="\n".join(a), b="\r\n".join(b) + "\n")
    words = [*typed, "--flagfile=a.flags", "--optimizer=sgd(0.5)"]
    try:
        recipe = recipe_of(*words)
    except RecipeError:
        return
    assert recipe == recipe_by_absl(*words)


@_FUZZ
@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "Zl"])), st.integers(10, 50))
def test_any_text_is_shown_in_one_printable_line_of_bounded_length(text, longest):
    assert shown(text).isprintable()
    assert len(shown(text, longest)) <= longest
    if text.isprintable() and len(text) <= longest:
        assert shown(text, longest) == text


def test_a_temporary_directory_is_named_in_full():
    path = Path(tempfile.mkdtemp(dir=Path.cwd())) / "none.flags"
    assert f"--flagfile={path}: No such file" in _refusal(f"--flagfile={path}")
