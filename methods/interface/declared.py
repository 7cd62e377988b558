"""What a source file declares, read from its syntax tree: importing it would import torch, which takes seconds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from issbench.methods.interface.info import FACTS, MethodInfo, Option, SourceText
from issbench.methods.interface.numbers import RANGED, Range

Classes = Mapping[str, ast.ClassDef]
"""Class statements by name."""

_KINDS = {"bool": bool, "int": int, "float": float, "str": str}


def declared_methods(path: Path, module: str, known: Classes) -> list[MethodInfo]:
    """The methods of a source file: classes that assign a text to `name`. `known` are classes of other files that
    they may derive from."""
    own = classes_of(path)
    known = {**known, **own}
    return [_info(node, module, path, known) for node in own.values() if _value(_assigned([node]), "name")]


@cache
def classes_of(path: Path) -> dict[str, ast.ClassDef]:
    """The classes of a source file."""
    return {node.name: node for node in _tree(path).body if isinstance(node, ast.ClassDef)}


def imported_classes(path: Path, module: str) -> dict[str, ast.ClassDef]:
    """The classes of those files of a module's own package that it imports, directly or through one another."""
    if "." not in module and path.name != "__init__.py":
        return {}  # not in a package
    top = path.parents[module.count(".") - (path.name != "__init__.py")]
    files = [path]
    for file in files:
        files += [found for found in _imported_files(file, top) if found not in files]
    return {name: node for file in files[:0:-1] for name, node in classes_of(file).items()}


def _imported_files(path: Path, top: Path) -> list[Path]:
    """The files in the package's folder `top` that `from … import …` names in a source file."""
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom):
            names = node.module.split(".") if node.module else []
            if node.level:
                folder = path.parents[node.level - 1]
            elif names[0] == top.name:
                folder, names = top, names[1:]
            else:
                continue
            base = folder.joinpath(*names)
            found += [base / "__init__.py", *(base / f"{alias.name}.py" for alias in node.names)]
            found += [base.with_name(f"{base.name}.py")] if names else []
    return [file for file in found if file.is_file()]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _info(node: ast.ClassDef, module: str, path: Path, known: Classes) -> MethodInfo:
    lineage = _lineage(node, known)
    own, assigned = _assigned([node]), _assigned(lineage)
    facts = {fact: _value(own, fact) for fact in FACTS if fact in own}
    name = _value(own, "name")
    parts = tuple(_value(_assigned([c]), "name") or c.name for c in lineage[::-1] if _is_part(c))
    return MethodInfo(
        name,
        module,
        node.name,
        (ast.get_docstring(node) or "").partition("\n")[0],
        _options(lineage, known),
        path,
        part=_is_part(node),
        parts=() if _is_part(node) else parts,
        not_composable_because=_value(assigned, "not_composable_because") or "",
        published=_value(assigned, "published") if "published" in assigned else {},
        upper_bound=bool(_value(assigned, "upper_bound")),
        **{"title": name} | {fact: value for fact, value in facts.items() if value is not None},
    )


def _is_part(node: ast.ClassDef) -> bool:
    """Whether a class is a part itself: `Part` stands among its bases."""
    return "Part" in _base_names(node)


def _options(lineage: list[ast.ClassDef], known: Classes) -> tuple[Option, ...]:
    """The fields of the dataclass `Options` of a method; inherited ones first."""
    owner = None
    for node in lineage:
        nested = [s for s in node.body if isinstance(s, ast.ClassDef) and s.name == "Options"]
        assigned = _assigned([node]).get("Options")
        owner = nested[0] if nested else known.get(_last(assigned)) if assigned else owner
    if owner is None:
        return ()
    fields = {
        statement.target.id: statement
        for node in _lineage(owner, {**known, owner.name: owner})
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if "ClassVar" not in ast.unparse(statement.annotation)
    }
    return tuple(_option(name, s.annotation, s.value) for name, s in fields.items() if s.value is not None)


def _option(name: str, annotation: ast.expr, default: ast.expr) -> Option:
    kind, within = _kind(annotation)
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return Option(name, kind, SourceText(ast.unparse(default)), within)
    return Option(name, kind, float(value) if kind is float and type(value) is int else value, within)


def _kind(annotation: ast.expr) -> tuple[Any, Range | None]:
    """The type that an annotation names, or None where the command line has no spelling for it; and its range."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.Subscript) and _last(annotation.value) == "Literal":
        return Literal[ast.literal_eval(annotation.slice)], None
    if _last(annotation) in RANGED:
        return get_args(RANGED[_last(annotation)])
    return _KINDS.get(ast.unparse(annotation)), None


def _value(assigned: Mapping[str, ast.expr], name: str) -> Any:
    """The literal that is assigned to a name; None where there is none."""
    try:
        return ast.literal_eval(assigned[name])
    except (KeyError, ValueError):
        return None


def _last(expression: ast.expr) -> str:
    """`Options` of `module.Options`."""
    return ast.unparse(expression).rpartition(".")[2]


def _base_names(node: ast.ClassDef) -> list[str]:
    return [_last(base) for base in node.bases]


def _lineage(node: ast.ClassDef, known: Classes) -> list[ast.ClassDef]:
    """A class and those that it derives from, as far as `known` has them, each before those that override it:
    Python's own order, from empty classes with the same bases."""
    made: dict[str, type] = {}

    def empty(name: str) -> type:
        if name not in made:
            made[name] = object  # for a class that derives from another one of its name
            bases = dict.fromkeys(empty(base) for base in _base_names(known[name]) if base in known)
            made[name] = type(name, tuple(base for base in bases if base is not object), {})
        return made[name]

    return [known[each.__name__] for each in empty(node.name).__mro__[-2::-1]]


def _assigned(lineage: list[ast.ClassDef]) -> dict[str, ast.expr]:
    """What the bodies of classes assign, with or without an annotation; later classes override."""
    found: dict[str, ast.expr] = {}
    for node in lineage:
        for statement in node.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                for target in targets:
                    found |= _names(target, statement.value)
    return found


def _names(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    """`a = 1`, or `a, b = 1, 2`, as values by name."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=False)
        return {one.id: each for one, each in pairs if isinstance(one, ast.Name)}
    return {target.id: value} if isinstance(target, ast.Name) else {}
