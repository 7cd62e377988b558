"""The identity of a method's code, so that an edited method is trained anew and not read from the store."""

from __future__ import annotations

import ast
import hashlib
import inspect
from pathlib import Path

from methods.method import Method


def code_of(method: type[Method]) -> list[str]:
    """Hashes of the files that define a method: its own, and those of the methods that it derives from."""
    classes = [c for c in method.__mro__ if issubclass(c, Method) and c is not Method]
    paths = dict.fromkeys(Path(inspect.getsourcefile(c) or "") for c in classes)
    return [_code_hash(path) for path in paths]


def _code_hash(path: Path) -> str:
    """A hash of a source file that comments, docstrings and layout do not change."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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
