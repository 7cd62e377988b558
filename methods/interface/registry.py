"""Which methods there are: every class with a `name` in a file of `methods/` or `methods/parts/`, and those that
installed packages declare under the entry-point group `issbench.methods`. The list is read from the source
(`declared.py`).
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from issbench.errors import UsageError, did_you_mean
from issbench.methods.interface.composition import combine, combined_info, parts_of, split
from issbench.methods.interface.declared import classes_of, declared_methods, imported_classes
from issbench.methods.interface.info import MethodInfo

if TYPE_CHECKING:
    from issbench.methods.method import Method


class UnknownMethod(UsageError):
    """A method name that nothing provides."""


@cache
def available() -> dict[str, MethodInfo]:
    """All methods and parts by name: the built-in ones, then those of other packages, which may not hide them."""
    folder = Path(__file__).parents[1]
    patterns = ("*.py", "parts/*.py", "shared/*.py")  # what is shared are classes that methods derive from
    files = sorted((path for each in patterns for path in folder.glob(each)), key=lambda path: path.stem)
    built_in = {name: node for path in files for name, node in classes_of(path).items()}
    found = {}
    for path in files:
        module = ".".join(("issbench.methods", *path.relative_to(folder).with_suffix("").parts))
        for info in declared_methods(path, module, built_in):
            found[info.name] = info
    for point in entry_points(group="issbench.methods"):
        source = _source(point.module)
        if source is not None:
            known = built_in | imported_classes(source, point.module)
            for info in declared_methods(source, point.module, known):
                if info.class_name == point.attr:
                    found.setdefault(point.name, replace(info, name=point.name))
    return found


def method_info(name: str) -> MethodInfo:
    """The declaration of a method or combination (`rcil+gsc`); raises UnknownMethod with the nearest names, or
    CompositionError with the reason why methods cannot be combined."""
    return _resolve(name)[0]


def load_method(name: str) -> type[Method]:
    """The class of a method or combination; raises like `method_info`."""
    info, base, parts = _resolve(name)
    return combine(info, _load(base), [_load(part) for part in parts]) if parts else _load(base)


def _resolve(name: str) -> tuple[MethodInfo, MethodInfo, list[MethodInfo]]:
    """A method or combination, its base, and the parts on top of it."""
    first, *others = split(name)
    base, added = _known(first), [_known(other) for other in others]
    parts = parts_of(base, added, available())
    return combined_info(base, added, parts) if parts else base, base, parts


def _known(name: str) -> MethodInfo:
    known = available()
    if name not in known:
        raise UnknownMethod(f"unknown method {name!r}; {did_you_mean(name, known)}")
    return known[name]


def _load(info: MethodInfo) -> type:
    return getattr(importlib.import_module(info.module), info.class_name)


def _source(module: str) -> Path | None:
    """The file of a module, or None where it cannot be found."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a package that it lies in is missing
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)
