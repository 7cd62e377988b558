"""Which methods there are: every class with a `name` in a file of this folder, and those that installed
packages declare under the entry-point group `issbench.methods`.

The list is read from the source without importing it, so that `bench list methods` needs no torch.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from issbench.errors import UsageError, did_you_mean
from issbench.methods.interface.composition import combine, combined_info, parts_of, split

if TYPE_CHECKING:
    from issbench.methods.method import Method


class UnknownMethod(UsageError):
    """A method name that nothing provides."""


@dataclass(frozen=True)
class MethodInfo:
    """A method as its source declares it: where it is, one line about it, options with their defaults."""

    name: str
    module: str
    class_name: str
    summary: str
    options: tuple[tuple[str, str], ...]
    source: Path
    part: bool = False
    """Whether it is a part, to be put on top of a method."""
    parts: tuple[str, ...] = ()
    """The parts that it is made of."""
    alone: str = ""
    """Why no part can be put on top of it."""


@cache
def available() -> dict[str, MethodInfo]:
    """All methods by name: the built-in ones, then those of other packages, which may not hide them."""
    folder = Path(__file__).parents[1]
    files = {path: _classes(path) for path in sorted([*folder.glob("*.py"), *folder.glob("parts/*.py")], key=_stem)}
    built_in = {name: node for classes in files.values() for name, node in classes.items()}
    found = {}
    for path, classes in files.items():
        module = ".".join(("issbench.methods", *path.relative_to(folder).with_suffix("").parts))
        for info in _declared(path, module, classes, built_in):
            found[info.name] = info
    for point in entry_points(group="issbench.methods"):
        path = _source(point.module)
        if path is not None:
            for info in _declared(path, point.module, _classes(path), built_in):
                if info.class_name == point.attr:
                    found.setdefault(point.name, replace(info, name=point.name))
    return found


def method_info(name: str) -> MethodInfo:
    """The declaration of a method or combination (`rcil+gsc`); raises UnknownMethod with the nearest names, or
    CompositionError with the reason why methods cannot be combined."""
    base, added = split(name)
    info, parts = _resolve(base, added)
    return combined_info("+".join((base, *added)), info, parts) if parts else info


def load_method(name: str) -> type[Method]:
    """The class of a method or combination."""
    base, added = split(name)
    info, parts = _resolve(base, added)
    if not parts:
        return _load(info)
    title = "+".join(_load(available()[each]).title for each in (base, *added))
    return combine("+".join((base, *added)), title, _load(info), [_load(part) for part in parts])


def _resolve(base: str, added: list[str]) -> tuple[MethodInfo, list[MethodInfo]]:
    info = _known(base)
    return info, parts_of(info, [_known(name) for name in added], available())


def _known(name: str) -> MethodInfo:
    known = available()
    if name not in known:
        raise UnknownMethod(f"unknown method {name!r}; {did_you_mean(name, known)}")
    return known[name]


def _load(info: MethodInfo) -> type:
    return getattr(importlib.import_module(info.module), info.class_name)


def _stem(path: Path) -> str:
    return path.stem


def _source(module: str) -> Path | None:
    """The file of a module, or None where it cannot be found."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a package that it lies in is missing
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    """The classes of a source file by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _declared(
    path: Path, module: str, classes: dict[str, ast.ClassDef], built_in: dict[str, ast.ClassDef]
) -> list[MethodInfo]:
    """The methods that a source file declares: classes that assign a string to `name`."""
    known, found = built_in | classes, []
    for node in classes.values():
        name = _text(_assigned([node]).get("name"))
        if name:
            lineage = _lineage(node, known)
            assigned = _assigned(lineage)
            options = assigned.get("Options")
            owner = known.get(ast.unparse(options).rpartition(".")[2]) if options else None
            fields = _assigned(_lineage(owner, known)) if owner else {}
            texts = tuple((field, ast.unparse(value).strip("'")) for field, value in fields.items())
            summary = (ast.get_docstring(node) or "").partition("\n")[0]
            parts = tuple(_text(_assigned([c]).get("name")) or c.name for c in lineage[::-1] if _is_part(c))
            alone = _text(assigned.get("alone"))
            names = () if _is_part(node) else parts
            found.append(MethodInfo(name, module, node.name, summary, texts, path, _is_part(node), names, alone))
    return found


def _is_part(node: ast.ClassDef) -> bool:
    """Whether a class is a part itself: `Part` stands among its bases."""
    return "Part" in _base_names(node)


def _text(value: ast.expr | None) -> str:
    """The string that an expression is, or nothing."""
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _base_names(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def _lineage(node: ast.ClassDef, known: dict[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """A class after those that it derives from, found by their names as far as `known` has them."""
    lineage = [node]
    for owner in lineage:
        names = _base_names(owner)
        lineage += [known[name] for name in names if name in known and known[name] not in lineage]
    return lineage[::-1]


def _assigned(lineage: list[ast.ClassDef]) -> dict[str, ast.expr]:
    """What the bodies of classes assign, with or without an annotation; later classes override."""
    return {
        target.id: statement.value
        for node in lineage
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }
