"""The commands that README and docs show exist, with all their options."""

from __future__ import annotations

import re
from pathlib import Path

import performance
import pytest
import reliability
import typer.main

from issbench.bench.commands.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown(page: Path) -> list[list[str]]:
    """The words of each `bench …` of a page: lines of its blocks (one may go on after \\), and code in its text."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^(?: {4}|\$ )?(bench [a-z].*)", text, flags=re.MULTILINE)
    inline = re.findall(r"`(bench [a-z][^`]*)`", text)
    return [command.partition("#")[0].split() for command in [*blocks, *inline]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_exist(page: Path) -> None:
    group = typer.main.get_command(app)
    for _, *words in shown(page):
        command = group
        while words and hasattr(command, "commands"):
            name = words.pop(0)
            assert name in command.commands, f"{page.name}: bench {name}"
            command = command.commands[name]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        asked = {option for word in words for option in re.findall(r"--[a-z][a-z-]*", word)}
        assert asked <= known, f"{page.name}: {command.name} has no {asked - known}"


def test_pages_show_commands() -> None:
    assert sum(len(shown(page)) for page in PAGES) > 50


def test_figures_of_reliability_are_those_of_the_record() -> None:
    page = reliability.PAGE.read_text(encoding="utf-8")
    assert reliability.figures_of(page) == reliability.figures() and "| 0 |" in reliability.figures()


@pytest.mark.parametrize("name, table", performance.sections(), ids=lambda value: value.partition("\n")[0][:20])
def test_figures_of_performance_are_those_of_the_records(name: str, table: str) -> None:
    assert performance.section_of(performance.PAGE.read_text(encoding="utf-8"), name) == table
