"""The identity of a method's code, so that an edited method is trained anew and not read from the store."""

from __future__ import annotations

import ast
import hashlib
import inspect
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from issbench.methods.method import Method

SHARED = (
    "issbench.methods.method",
    "issbench.methods.functional",
    "issbench.methods.shared.medians",
    "issbench.methods.shared.collectives",
)
"""What all methods share is no part of a method's code; where it changes, `NUMERICS` in bench/plan.py is raised."""


def code_of(method: type[Method]) -> list[str]:
    """Hashes of the files that define a method: its own, those of the methods that it derives from, and what
    these import from this folder and do not share with all."""
    classes = [c for c in method.__mro__ if issubclass(c, Method) and c.__module__ not in SHARED]
    paths = list(dict.fromkeys(Path(inspect.getsourcefile(c) or "") for c in classes))
    for path in paths:
        paths += [found for found in _imported(path.read_text(encoding="utf-8")) if found not in paths]
    return [_code_hash(path.read_text(encoding="utf-8")) for path in paths]


# The runs of a sweep ask for the same few files thousands of times, so both remember what they found in a text.


@lru_cache(maxsize=256)
def _imported(text: str) -> list[Path]:
    """The files of this folder that a source text imports, but those that all methods share."""
    tree = ast.parse(text)
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    specs = [
        find_spec(name) for name in names if name and name.startswith("issbench.methods.") and name not in SHARED
    ]
    return [Path(spec.origin) for spec in specs if spec and spec.origin]


@lru_cache(maxsize=256)
def _code_hash(text: str) -> str:
    """A hash of a source text that comments, docstrings and layout do not change."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_text(s)] or [ast.Pass()]
    return hashlib.blake2b(ast.unparse(tree).encode(), digest_size=8).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
