"""The commands as a person meets them: help, and one plain message for each mistake.

All of it ends before TensorFlow is imported.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_lines import recipe_by_absl, recipe_of
from commands import command, environment
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import tfsc
from tfsc.command_line.command import presentable
from tfsc.errors import RecipeError, TfscError, shown
from tfsc.recipe import Recipe, sections, settings

_ROOT = Path(tfsc.__file__).parents[1]


def _python(*arguments, cwd):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _run(command, *arguments, cwd):
    return _python("-m", f"tfsc.{command}", *arguments, cwd=cwd)


def _assert_refused(result, command, directory, before=()):
    """Exit code 2, nothing printed, one line per error, no traceback, nothing left behind."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith(f"tfsc.{command}: ")
    assert result.stderr.endswith("\n")
    for line in result.stderr.splitlines():
        assert line.isprintable()
        assert len(line) <= 400
    assert {path.name for path in directory.iterdir()} == set(before)


def _outcome_text(result):
    """For docs/reliability.md: the exit code and the first line."""
    return f"exit code {result.returncode}: {result.stderr.splitlines()[0]}"


# --- help ---------------------------------------------------------------------------------------


def test_help_comes_in_under_a_second(tmp_path):
    # The best of several: a busy machine says nothing about the command.
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        _run("train", "--help", cwd=tmp_path)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] < 1:
            break
    assert min(seconds) < 1


def test_help_into_head_is_no_error(tmp_path):
    words = " ".join(command("train", "--help"))
    result = subprocess.run(
        f"{words} | head -1", shell=True, cwd=tmp_path, env=environment(), capture_output=True
    )
    assert (result.stdout, result.stderr) == (
        b"Train an image classifier by a recipe and record the run.\n",
        b"",
    )


def test_help_opens_with_the_command_line_and_shows_every_setting(tmp_path):
    result = _run("train", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr == ""
    assert "python -m tfsc.train" in result.stdout.split("Where things are:")[0]
    assert re.findall(r"^  --(?:\[no\])?(\w+)", result.stdout, re.MULTILINE) == [*settings()]
    assert len(settings()) <= 45
    titles = re.findall(r"^([A-Z].*):$", result.stdout, re.MULTILINE)
    assert titles == list(dict.fromkeys(sections().values()))
    unwrapped = "".join(result.stdout.split())
    for setting in settings().values():
        assert "".join(setting.help.split()) in unwrapped


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (
            "evaluate",
            {"export", "out", "class_names", "outputs", "dataset", "data_dir", "val_split", "seed"},
        ),
        ("export", {"run_dir", "checkpoint", "weights", "out"}),
        ("schedules", {"show", "momentum", "steps", "steps_per_epoch", "per", "rows", "out"}),
    ],
)
def test_help_of_the_other_commands_shows_their_flags_only(command, names, tmp_path):
    result = _run(command, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert f"python -m tfsc.{command}" in result.stdout
    shown = re.findall(r"^  --(?:\[no\])?(\w+)", result.stdout, re.MULTILINE)
    assert set(shown) == names


@pytest.mark.parametrize("flag", ["-?", "--helpshort", "--helpfull", "--helpxml"])
def test_every_help_flag_is_no_error(flag, tmp_path):
    result = _run("export", flag, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "moving average" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        ("train", "--help"),
        ("train", "--wd=-1"),
        ("train", "--optimizer=adam"),
        ("evaluate", "--seed=x"),
        ("export", "--run_dir="),
        ("lr_find", "--help"),
        ("lr_find", "--start=20"),
    ],
)
def test_help_and_errors_in_flags_do_without_tensorflow(command, argument, tmp_path):
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['tfsc.{command}', {argument!r}]\n"
        "try:\n"
        f"    runpy.run_module('tfsc.{command}', run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print('imported:', {'absl', 'tensorflow', 'keras', 'numpy'} & set(sys.modules))\n"
    )
    result = _python("-c", program, cwd=tmp_path)
    assert result.returncode == (0 if argument == "--help" else 2)
    assert result.stdout.endswith("imported: {'absl'}\n")


def test_closed_standard_streams_do_not_become_files_of_the_run(tmp_path, fault):
    program = (
        "import os, sys\n"
        "from tfsc.command_line.command import run\n"
        "run(lambda: open('opened', 'w').write(\n"
        "    f'{os.open(os.devnull, os.O_RDONLY)} {print(1)} {print(2, file=sys.stderr)}'))\n"
    )
    closed = 'exec "$0" -c "$1" <&- >&- 2>&-'
    subprocess.run(
        ["sh", "-c", closed, sys.executable, program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        check=True,
        timeout=60,
    )
    number, *printed = (tmp_path / "opened").read_text().split()
    assert int(number) > 2
    assert printed == ["None", "None"]
    fault("storage", "standard input, output and error closed", "the run goes on without them")


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch=3"], "Unknown command line flag 'epoch'. Did you mean: epochs ?"),
        (["--weight_decay=3"], "Unknown command line flag 'weight_decay'"),
        (["-e3"], "Unknown command line flag 'e3'"),
        (["runs/a"], "unexpected words: runs/a; settings are written --name=value"),
        (["--epochs", "3", "cifar10", "x"], "unexpected words: cifar10 x"),
        (["a\nb"], "unexpected words: a b"),
        (["--epochs=0"], "--epochs=0: must be a whole number from 1 to 100000"),
        (["--batch_size=64.5"], "--batch_size=64.5: must be a whole number from 1 to 65536"),
        (["--batch_size"], "Missing value for flag --batch_size"),
        (["--wd=nan"], "--wd=nan: must be a number from 0.0 to 1000.0"),
        (["--export=maybe"], "--export=maybe: must be true or false"),
        (["--noexport=3"], "--noexport=3 does not take an argument"),
        (["--precision=fp8"], "--precision=fp8: must be one of fp32, tf32, bf16, fp16"),
        (["--run_dir=a\nb"], r"--run_dir=a\nb: must be text on one line"),
        (["--run_dir=\x1b[2J"], r"--run_dir=\x1b[2J: must be text on one line"),
        (["--wd=" + "9" * 100_000], "…" + "9" * 40 + ": must have at most 4096 characters, has"),
        (["--" + "x" * 100_000], "Unknown command line flag 'xxx"),
        (["x" * 100_000], "unexpected words: xxx"),
        (["--epochs 3"], "--epochs 3: must be written --name=value"),
        (["--dataset=../x"], "--dataset=../x: must be a name, not a path"),
        (["--optimizer=adam"], "--wd=0.19: must be 0 with --optimizer=adam"),
        (["--noflip=3"], "--noflip=3: is part of --augment now (`python -m tfsc.augment` lists"),
        (
            ["--stack_units=1,1,1", "--epochs=3", "--noflip"],
            "--stack_units=1,1,1: is part of --model now; what was typed is "
            "--model='resnet_v2([1,1,1])' --augment='shift(0.07)'",
        ),
        (
            ["--dropout"],
            "--dropout: is part of --model now (`python -m tfsc.models` lists what it can say)",
        ),
        (["--schedule="], "--schedule: a schedule cannot be empty"),
        # absl's own flags.
        (["--stderrthreshold=loud"], "--stderrthreshold=loud: must be one of debug, info"),
        (["--verbosity=x"], "--verbosity=x: must be a whole number"),
        (["--v="], "--v=: must be a whole number"),
        (["--logger_levels=x"], "--logger_levels=x: must be name:LEVEL pairs"),
        (["--logger_levels=x:y"], "--logger_levels=x:y: must be name:LEVEL pairs"),
        (["--undefok"], "Missing value for flag --undefok"),
        (["--help=x"], "--help=x: must be true or false"),
        (["--flagfile"], "--flagfile=: must name a file"),
        (["--flagfile="], "--flagfile=: must name a file"),
    ],
)
def test_a_mistake_in_flags_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    result = _run("train", *arguments, cwd=tmp_path)
    _assert_refused(result, "train", tmp_path)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == (3 if arguments == ["--schedule="] else 1)


@pytest.mark.parametrize(
    ("text", "message", "caret_under"),
    [
        (
            "[8e-4,0]lni[1e-3,5]",
            "unknown shape 'lni', allowed: lin, cos, half, exp, const",
            "lni[1e-3,5]",
        ),
        ("type3", "no schedule is named 'type3'; names: type1, type2, atienza", "type3"),
        ("[8e-4, 5]lin[1e-3, 5]", "epochs must increase from knot to knot", "5]"),
    ],
)
def test_a_mistake_in_a_schedule_is_a_line_the_text_and_a_caret(
    text, message, caret_under, tmp_path
):
    result = _run("train", f"--schedule={text}", cwd=tmp_path)
    _assert_refused(result, "train", tmp_path)
    first, shown, caret = result.stderr.splitlines()
    assert first.startswith(f"tfsc.train: --schedule: {message}")
    assert shown == "  " + text
    assert shown[caret.index("^") :] == caret_under


def test_a_mistake_in_groups_is_a_line_the_text_and_a_caret(tmp_path):
    result = _run("train", "--lr_factors=bn_bias:64,head", cwd=tmp_path)
    _assert_refused(result, "train", tmp_path)
    assert result.stderr.splitlines() == [
        "tfsc.train: --lr_factors: expected ':' between a group and its factor, found the end of "
        "the text (at character 16)",
        "  bn_bias:64,head",
        " " * 17 + "^",
    ]


def test_a_missing_flagfile_is_named(tmp_path, fault):
    result = _run("train", "--flagfile=none.flags", cwd=tmp_path)
    _assert_refused(result, "train", tmp_path)
    assert "--flagfile=none.flags: No such file or directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    fault("bad input", "flagfile that does not exist", _outcome_text(result))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"# A comment\n--epochs=0\n",
            "a.flags line 2: --epochs=0: must be a whole number from 1 to 100000",
        ),
        (
            b"epochs=3\n",
            "a.flags line 1: unexpected words: epochs=3; settings are written --name=value",
        ),
        (b"--epochs 3\n", "a.flags line 1: --epochs 3: must be written --name=value"),
        (b"--epochs", "a.flags line 1: Missing value for flag --epochs"),
        (b"--optimizer=adam\n", "--wd=0.19: must be 0 with --optimizer=adam"),
        (b"\x89PNG\xff", "--flagfile=a.flags: must be UTF-8 text, is not at byte 1"),
        (
            b"--flagfile=\0\n",
            r"a.flags line 1: --flagfile=\x00: must be text, without control characters",
        ),
    ],
)
def test_a_mistake_in_a_flagfile_is_one_line(content, message, tmp_path):
    (tmp_path / "a.flags").write_bytes(content)
    result = _run("train", "--flagfile=a.flags", cwd=tmp_path)
    _assert_refused(result, "train", tmp_path, before=["a.flags"])
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("evaluate", [], "--export: must name what to evaluate, e.g. --export=runs/<run>/export"),
        ("evaluate", ["--export="], "--export: must name what to evaluate"),
        ("evaluate", ["--exprot=x"], "Unknown command line flag 'exprot'. Did you mean: export ?"),
        ("evaluate", ["--export=x", "--wd=0.1"], "Unknown command line flag 'wd'"),
        ("evaluate", ["--export=x", "--val_split=all"], "must be one of test, stratified, merged"),
        ("evaluate", ["x"], "unexpected words: x"),
        ("export", [], "--run_dir: must name the run, e.g. --run_dir=runs/<run>"),
        ("export", ["--run_dir="], "--run_dir: must name the run"),
        ("export", ["--rundir=x"], "Unknown command line flag 'rundir'. Did you mean: run_dir ?"),
        (
            "export",
            ["--run_dir=x", "--checkpoint=frist"],
            "--checkpoint=frist: must be last, best or a step",
        ),
        ("export", ["--run_dir=x", "--checkpoint=-1"], "--checkpoint=-1: must be last, best or"),
        # A digit to str.isdigit(), none to int().
        ("export", ["--run_dir=x", "--checkpoint=²"], "--checkpoint=²: must be last, best or"),
        ("export", ["--run_dir=x", "--weights=both"], "value should be one of <network|ema>"),
        ("export", ["x"], "unexpected words: x"),
        (
            "lr_find",
            ["--steps=8"],
            "--steps=8: must be in a flagfile, as the length of the training that is proposed; the "
            "test's is --num_steps",
        ),
    ],
)
def test_a_mistake_in_flags_of_the_other_commands_is_one_line(
    command, arguments, message, tmp_path
):
    result = _run(command, *arguments, cwd=tmp_path)
    _assert_refused(result, command, tmp_path)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", []),
        ("evaluate", ["--export=runs/a/export"]),
        ("export", ["--run_dir=runs/a"]),
    ],
)
def test_a_flagfile_from_a_newer_version_is_refused_with_line_flag_and_version(
    command, arguments, tmp_path, fault
):
    (tmp_path / "new.flags").write_text("# From tfsc 9\n\n--zeta_window=3\n")
    result = _run(command, *arguments, "--flagfile=new.flags", cwd=tmp_path)
    _assert_refused(result, command, tmp_path, before=["new.flags"])
    assert result.stderr == (
        f"tfsc.{command}: new.flags line 3: --zeta_window=3: this version of tfsc "
        f"({tfsc.__version__}) has no flag named zeta_window; the file may be for a newer version\n"
    )
    if command == "train":
        fault("bad input", "flagfile from a newer version, unknown flag", _outcome_text(result))


def test_an_almost_right_name_in_a_flagfile_gets_a_hint(tmp_path, fault):
    (tmp_path / "a.flags").write_text("--epoch=3\n")
    result = _run("train", "--flagfile=a.flags", cwd=tmp_path)
    _assert_refused(result, "train", tmp_path, before=["a.flags"])
    assert result.stderr.endswith("newer version. Did you mean: epochs ?\n")
    fault("bad input", "misspelt flag in a flagfile", _outcome_text(result))


def test_undefok_lets_a_flagfile_from_a_newer_version_pass(tmp_path):
    (tmp_path / "new.flags").write_text("--zeta_window=3\n--nolookahead\n")
    arguments = ["--undefok=zeta_window,lookahead", "--flagfile=new.flags", "--only_check_args"]
    assert _run("train", *arguments, cwd=tmp_path).returncode == 0


def test_only_check_args_checks_values_beside_each_other_too(tmp_path, fault):
    result = _run("train", "--only_check_args", "--optimizer=adam", cwd=tmp_path)
    _assert_refused(result, "train", tmp_path)
    assert "--wd=0.19: must be 0 with --optimizer=adam" in result.stderr
    fault("bad input", "--only_check_args with --optimizer=adam", _outcome_text(result))
    result = _run("train", "--only_check_args", "--optimizer=adam", "--wd=0", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (b"--run_dir=\xff", r"--run_dir=\udcff: must be text on one line"),
        (b"--\xff=1", r"Unknown command line flag '\udcff'"),
        (b"\xff", r"unexpected words: \udcff"),
        (b"--flagfile=\xff", r"--flagfile=\udcff: No such file or directory"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_bytes_that_are_no_text_are_shown_escaped(argument, message, encoding, tmp_path, fault):
    result = subprocess.run(
        [sys.executable, "-m", "tfsc.train", argument],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(_ROOT), "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        timeout=60,
    )
    _assert_refused(result, "train", tmp_path)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    if argument.startswith(b"--run_dir"):
        fault("bad input", "bytes that are no UTF-8 in a flag", _outcome_text(result))


def test_an_escape_sequence_does_not_reach_the_terminal(tmp_path, fault):
    result = _run("train", "--dataset=\x1b]0;title\x07\x1b[2J", cwd=tmp_path)
    _assert_refused(result, "train", tmp_path)
    assert r"--dataset=\x1b]0;title\x07\x1b[2J: must be text" in result.stderr
    fault("bad input", "escape sequences in a flag", _outcome_text(result))


def test_a_path_that_is_no_utf_8_can_be_named(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "tfsc.evaluate", b"--export=\xff"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert r"--export=\udcff: " in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("flush", [True, False])
def test_a_closed_standard_output_is_one_line(flush, tmp_path):
    program = f"from tfsc.command_line.command import run\nrun(lambda: print(1, flush={flush}))"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (1, "tfsc.-c: standard output: Broken pipe\n")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("a\nb\x1b[2J", r"a b\x1b[2J"),
        ("rule\n  text\n  ^", "rule\n  text\n  ^"),
        ("rule\n  te\x07t\n  ^", "rule\n  te\\x07t\n  ^"),
        ("x" * 10_000, "x" * 749 + "…" + "x" * 250),
    ],
)
def test_an_error_is_made_fit_for_a_terminal(message, line):
    assert presentable(TfscError(message)) == line


# --- any command line ---------------------------------------------------------------------------


_STARTS = ("-", "Unknown command line flag '", "unexpected words: ", "Missing value for flag --")


def _names_in(arguments):
    """Names that an error about these words may give, as it shows them."""
    names = [word.lstrip("-").partition("=")[0] for word in arguments]
    names += [name.removeprefix("no") for name in names]
    return [shown(name)[:30] for name in names if name]


def _assert_recipe_or_plain_refusal(arguments):
    """A recipe that replays, as absl reads it, or one line with a flag and a rule."""
    try:
        recipe = recipe_of(*arguments)
    except RecipeError as error:
        first, *more = str(error).split("\n")
        assert first.isprintable()
        assert len(first) <= 400
        assert first.startswith(_STARTS)
        # Only a value beside another can be one that was not typed: --wd with --optimizer=adam.
        names = [*_names_in(arguments), "--wd=0.19", "unexpected words: "]
        assert any(name in first for name in names)
        texts = (
            "schedule",
            "batch_schedule",
            *(name for name, setting in settings().items() if setting.parse_text),
        )
        with_caret = tuple(f"--{name}: " for name in texts)
        assert not more or (first.startswith(with_caret) and len(more) == 2)
        assert presentable(error) == str(error)
        return
    assert recipe == recipe_by_absl(*arguments)
    assert Recipe.from_flagfile(recipe.flagfile()) == recipe.replace(run_dir="")
    assert recipe_of(*recipe.flagfile().splitlines()) == recipe.replace(run_dir="")


_ANY = st.characters() | st.characters(categories=["Cs", "Cc"])  # undecodable bytes are Cs
_NAMES = st.sampled_from(sorted(settings()))
_MISSPELT = st.builds(
    lambda name, place, character: name[:place] + character + name[place:],
    _NAMES,
    st.integers(0, 30),
    _ANY.filter("=".__ne__),
)
_SAMPLES = "0 1 -1 1e3 nan true 6,6 none sgd(0.9) fp16 adam sgd type2 [1,0]lin[2,3] 1_0 ٣ --wd=0"
_VALUES = st.text(_ANY, max_size=20) | st.sampled_from(
    [*_SAMPLES.split(), "", "9" * 10_000, "x" * 5000, "\x1b[2J", "a\nb", " a  b ", "\udcff"]
)
_SETTINGS = st.builds("--{}={}".format, _NAMES, _VALUES)
_WORDS = (
    _SETTINGS
    | st.builds("--{}={}".format, _MISSPELT | st.sampled_from(["undefok", "flagfile"]), _VALUES)
    | st.builds("{}{}".format, st.sampled_from(["--", "-", "--no", "---", ""]), _NAMES | _MISSPELT)
    | _VALUES
    | st.sampled_from(["--", "-", "--=", "--undefok", "--no", "--flagfile", "--flagfile=", "-=3"])
)


@hypothesis_settings(max_examples=300, deadline=None)
@example(["--undefok=warmup", "--warmup=3", "--nowarmup"])
@example(["--wd", "0.3", "--", "--wd=1"])
@example(["--run_dir", "--export"])
@example(["--flagfile=/dev/zero"])
@given(st.lists(_WORDS, max_size=5))
def test_any_command_line_is_a_recipe_or_one_line_about_a_flag(words):
    _assert_recipe_or_plain_refusal(words)


@hypothesis_settings(max_examples=300, deadline=None)
@given(_NAMES, _VALUES)
def test_any_value_of_a_flag_is_a_recipe_or_one_line_with_the_flag_and_the_rule(name, value):
    _assert_recipe_or_plain_refusal([f"--{name}={value}"])


_VALID = (
    "--wd=0 --wd 0.5 --noexport --export --export=f --optimizer=adam --seed 7 --undefok=x,y --x=1 "
    "--noy --model=resnet_v2([1,2],shortcut=5) --stack_units=1 --schedule=type2 -epochs=3 --"
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_VALID.split())))
def test_what_is_accepted_is_read_as_absl_reads_it(words):
    _assert_recipe_or_plain_refusal(words)


def test_tensorflow_comes_without_what_keras_would_import_beside_it():
    program = (
        "import gc, sys\n"
        "from tfsc.command_line.command import import_tensorflow\n"
        "import_tensorflow()\n"
        "assert 'keras' in sys.modules and gc.isenabled()\n"
        "assert not {'sklearn', 'matplotlib', 'matplotlib.pyplot'} & sys.modules.keys()\n"
        "import matplotlib.pyplot, sklearn.datasets\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(tfsc.__file__).parents[1])
