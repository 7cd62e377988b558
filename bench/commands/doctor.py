"""`bench doctor`: what this machine has, what is missing, what that disables, and how to get it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from issbench.bench.commands.support.health import Finding

_MOST = 100
"""Folders that are looked at for data sets, unless some are named."""
_MARKS = {"ok": "ok", "missing": "-", "fault": "FAULT"}


def doctor(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Look for data sets here; may be repeated.", show_default="here, in data/, and one folder deeper"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell what this machine has for the suite: versions, devices, room, programs, data sets, weights.

    What is missing stands there with what it disables and how to get it. Nothing is downloaded, trained or written.
    Exit code 1 where something is wrong without which nothing can be trained.
    """
    import json

    from issbench.bench.commands.support.health import datasets, machine, weights
    from issbench.errors import RunError, UsageError

    for folder in data or ():
        if not folder.is_dir():
            raise UsageError(f"--data {folder}: no such directory")
    found = [*machine(out), weights(), *datasets(data or _near())]
    if as_json:
        typer.echo(json.dumps({"format": 1, "findings": [vars(each) for each in found]}, indent=1))
    else:
        typer.echo("\n".join(_line(each) for each in found))
    if faults := [each for each in found if each.state == "fault"]:
        raise RunError(f"{faults[0].topic}: {faults[0].found}; {faults[0].remedy}")


def _near() -> list[Path]:
    """This directory, `data/`, and the folders in both."""
    homes = [Path(), Path("data")]
    inside: list[Path] = []
    for home in homes:
        with suppress(OSError):  # it is not there, or may not be read
            inside += sorted(Path(each.path) for each in os.scandir(home) if each.is_dir() and each.name[0] != ".")
    return [*homes, *inside[:_MOST]]


def _line(finding: Finding) -> str:
    """A finding in a line; of one that is missing, two more."""
    from issbench.text import one_line

    lines = [f"{_MARKS[finding.state]:<6} {finding.topic:<16} {finding.found}"]
    if finding.state != "ok":
        lines += [f"{'':<23} without it not: {finding.disables}", f"{'':<23} to get it: {finding.remedy}"]
    return "\n".join(map(one_line, lines))
