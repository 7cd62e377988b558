"""Which methods there are: every class with a `name` in a file of this folder, and those that installed
packages declare under the entry-point group `issbench.methods`.

The list is read from the source without importing it, so that `bench list methods` needs no torch.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from methods.method import Method


class UnknownMethod(ValueError):
    """A method name that nothing provides."""

    exit_code = 2


@dataclass(frozen=True)
class MethodInfo:
    """A method as its source declares it: where it is, one line about it, options with their defaults."""

    name: str
    module: str
    class_name: str
    summary: str
    options: tuple[tuple[str, str], ...]
    source: Path


@cache
def available() -> dict[str, MethodInfo]:
    """All methods by name: the built-in ones, then those of other packages, which may not hide them."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for info in _declared(path, f"methods.{path.stem}"):
            found[info.name] = info
    for point in entry_points(group="issbench.methods"):
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            continue
        for info in _declared(Path(spec.origin), point.module):
            if info.class_name == point.attr:
                found.setdefault(point.name, info)
    return found


def method_info(name: str) -> MethodInfo:
    """The declaration of a method; raises UnknownMethod with the nearest names."""
    known = available()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
        raise UnknownMethod(f"unknown method {name!r}; {hint}")
    return known[name]


def load_method(name: str) -> type[Method]:
    """The class of a method."""
    info = method_info(name)
    return getattr(importlib.import_module(info.module), info.class_name)


def _declared(path: Path, module: str) -> list[MethodInfo]:
    """The methods that a source file declares: classes that assign a string to `name`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found = []
    for node in classes.values():
        values = {
            target.id: statement.value
            for statement in node.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        name = values.get("name")
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            options = values.get("Options")
            fields = _fields(classes.get(options.id)) if isinstance(options, ast.Name) else ()
            summary = (ast.get_docstring(node) or "").partition("\n")[0]
            found.append(MethodInfo(name.value, module, node.name, summary, fields, path))
    return found


def _fields(node: ast.ClassDef | None) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    return tuple(
        (statement.target.id, ast.unparse(statement.value).strip("'"))
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value
    )
