"""`tfsc COMMAND`: one name for all commands."""

import importlib.util

import pytest

import tfsc
from tfsc import __main__ as dispatch


def test_every_command_is_a_module_with_the_name():
    for command in dispatch.COMMANDS:
        name = f"tfsc.{command.replace('-', '_')}"
        assert importlib.util.find_spec(name), command


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_help_lists_the_commands(arguments, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["tfsc"])
    dispatch.main(arguments)
    out = capsys.readouterr().out
    assert out.startswith(f"tfsc {tfsc.__version__}: tfsc COMMAND [flags]\n")
    assert all(f"    tfsc {command} " in out for command in dispatch.COMMANDS)


def test_another_word_is_refused_with_those_that_are_allowed(capsys):
    with pytest.raises(SystemExit) as caught:
        dispatch.main(["trian", "--wd=1"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        f"tfsc: 'trian': must be one of {', '.join(dispatch.COMMANDS)}\n"
    )


@pytest.mark.parametrize("name", ["lr-find", "lr_find"])
def test_a_command_gets_the_words_that_follow_it(name, monkeypatch):
    called = []
    monkeypatch.setattr("sys.argv", ["tfsc", name, "--seeds=2"])
    monkeypatch.setattr(
        dispatch.runpy,
        "run_module",
        lambda *of, **how: called.append((of, list(dispatch.sys.argv))),
    )
    dispatch.main()
    assert called == [(("tfsc.lr_find",), ["tfsc", "--seeds=2"])]
