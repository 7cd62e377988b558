"""What users and their scripts hold on to: the command line, and the names that `issbench` exports. A change of
either is made on purpose, and shows in the files of `tests/surface/`, which this renews:

    RENEW_SURFACE=1 pytest tests/test_surface.py
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer.main

import issbench
from issbench.bench.commands.app import app

FROZEN = Path(__file__).parent / "surface"


def assert_frozen(name: str, lines: list[str]) -> None:
    """The lines are those of the file; where the user asks for it, the file is renewed instead."""
    path = FROZEN / name
    if os.environ.get("RENEW_SURFACE"):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    frozen = path.read_text(encoding="utf-8").splitlines()
    assert lines == frozen, "if this is on purpose: RENEW_SURFACE=1 pytest tests/test_surface.py"


def described(command: Any, name: str) -> Iterator[str]:
    """A command, a line for each of its arguments and options, and the commands below it."""
    yield name + " (hidden)" * command.hidden
    asked = inspect.signature(command.callback, eval_str=True).parameters if command.callback else {}
    ours = [each for each in command.params if each.name in asked]  # not typer's own, of shell completion
    yield from (f"    {declaration(each, asked[each.name])}" for each in ours)
    for below in getattr(command, "commands", {}).values():
        yield from described(below, f"{name} {below.name}")


def declaration(parameter: Any, asked: inspect.Parameter) -> str:
    """How an argument or option is written, what it takes, and its default."""
    written = ", ".join(parameter.opts)
    if parameter.param_type_name == "argument":
        written = parameter.name.upper()
    if parameter.secondary_opts:
        written += " / " + ", ".join(parameter.secondary_opts)
    takes, info = get_args(asked.annotation)  # of Annotated
    bounds = [f"{sign} {bound}" for sign, bound in (("≥", info.min), ("≤", info.max)) if bound is not None]
    default = "required" if parameter.required else f"= {asked.default}"
    return " ".join([written, kind(takes), *bounds, default]) + " (hidden)" * parameter.hidden


def kind(annotation: Any) -> str:
    """What a parameter takes, as its type reads."""
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(kind, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if get_origin(annotation):
        return str(annotation).replace("pathlib.", "")
    return "None" if annotation is NoneType else annotation.__name__


def test_the_command_line() -> None:
    assert_frozen("command_line.txt", [*described(typer.main.get_command(app), "bench")])


def exported(name: str) -> str:
    """A name that `issbench` exports, with the names and defaults of what it takes."""
    value = getattr(issbench, name)
    if not callable(value):
        return name
    bare = [
        each.replace(annotation=inspect.Parameter.empty) for each in inspect.signature(value).parameters.values()
    ]
    return f"{name}{inspect.Signature(bare)}"


def test_the_exported_names() -> None:
    assert_frozen("issbench.txt", [exported(name) for name in sorted(issbench.__all__)])
