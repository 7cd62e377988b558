"""What `--help` says: all that stands in the code, of which markup would swallow what is in square brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer.main
from commands import bench

from issbench.bench.commands.app import app


def commands_below(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command with the words that call it."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands_below(below, (*words, name))


def bare(text: str) -> str:
    """A text without blanks, ends of lines and the lines of boxes."""
    return re.sub(r"[\s│]", "", text)


@pytest.mark.parametrize(("words", "command"), [*commands_below(typer.main.get_command(app))])
def test_help_says_all_that_is_written(
    words: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 1000)
    said = bare(bench(*words, "--help"))
    for parameter in command.params:
        assert bare(parameter.help or "") in said
        told = parameter.show_default
        assert not isinstance(told, str) or bare(f"[default: ({told})]") in said
        assert "default" not in (parameter.help or "").replace("defaults", ""), "show_default= tells defaults"
    assert bare(command.help or "").replace("`", "") in said.replace("`", "")


def test_defaults_that_are_worked_out_are_told() -> None:
    said = bare(bench("run", "--help"))
    for words in ("one per core, up to 8", "the scenario's usual one", "OMP_NUM_THREADS, or 1", "plop"):
        assert bare(words) in said


def test_version() -> None:
    assert bench("--version") == f"bench {version('issbench')}\n"


def test_the_shell_completes_commands_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_BENCH_COMPLETE", "complete_bash")
    for words, expected in {"bench doc": "doctor", "bench run --sav": "--save-as"}.items():
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        assert bench().split() == [expected]
