"""A fingerprint of the code that computes, so that edited code is trained anew and edited comments are not.

It is taken of definitions, not of files: from a class or function all others that it names are found, in this
package and in the plug-in that it stands in, and each is reduced to what decides a result. So comments,
docstrings, type annotations, error messages and the file in which a definition stands change nothing; a moved
minus sign does. Needs no torch: sources are read, not imported.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import packages_distributions
from importlib.util import find_spec, resolve_name
from pathlib import Path

PACKAGE = "issbench"
DECIDE_NOTHING = (
    f"{PACKAGE}.errors",
    f"{PACKAGE}.files",
    f"{PACKAGE}.wellformed",
    f"{PACKAGE}.bench.engine.distributed",
    f"{PACKAGE}.bench.engine.interruption",
)
"""Modules of which no number depends: messages, files, and what processes agree on beside their sums."""

SHOWN = ("title", "table_order", "colour", "marker", "dashes", "cite", "upper_bound", "not_composable_because")
"""Attributes of a method that only lists, tables and figures read."""

_FOREIGN = {"torch", *sys.stdlib_module_names}
_KNOWN: dict[type, str] = {}

Name = tuple[str, str]
"""A module, and a name at its top level."""


def fingerprint(*roots: Name) -> str:
    """A hash (24 hex digits) of the definitions `roots` and of all that they name."""
    found = _Reached()
    for root in roots:
        found.reach(*root)
    shapes = {shape(node, found.used) for node in found.definitions.values()}
    text = "\n".join(sorted(shapes | found.outside))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def class_fingerprint(kind: type) -> str:
    """The fingerprint of a class with its bases, but for those of torch and of Python itself. Worked out once for
    each class: what is loaded does not change when its file does."""
    if kind not in _KNOWN:
        names = ((c.__module__, c.__qualname__.partition(".")[0]) for c in kind.__mro__)
        _KNOWN[kind] = fingerprint(*(name for name in names if name[0].partition(".")[0] not in _FOREIGN))
    return _KNOWN[kind]


def files_of(*roots: Name) -> set[Path]:
    """The source files in which the definitions `roots`, and all that they name, stand."""
    found = _Reached()
    for root in roots:
        found.reach(*root)
    modules = (module_of(module) for module, _ in found.definitions)
    return {module.path for module in modules if module is not None}


@dataclass
class _Reached:
    """The definitions found so far, and what they name of other packages."""

    definitions: dict[Name, ast.stmt] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)

    @cached_property
    def used(self) -> frozenset[str]:
        """Attributes and texts anywhere in the definitions: a field of a dataclass that is not among them is read
        by nothing."""
        nodes = [node for definition in self.definitions.values() for node in ast.walk(definition)]
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        return frozenset(
            names | {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        )

    def reach(self, module: str, name: str) -> None:
        """Add a definition and all that it names."""
        waiting = [(module, name)]
        while waiting:
            module, name = waiting.pop()
            source = None if module in DECIDE_NOTHING else module_of(module)
            if source is None or (module, name) in self.definitions:
                continue
            if name in source.definitions:
                node = self.definitions[module, name] = source.definitions[name]
                waiting += self._named(source, node)
            elif name in source.imports:
                waiting += self._imported(source, name, ())

    def _named(self, source: Module, node: ast.AST) -> Iterator[Name]:
        """What a definition names: other definitions of its module, and imported ones."""
        for name, attributes in _chains(node):
            if name in source.definitions:
                yield source.name, name
            elif name in source.imports:
                yield from self._imported(source, name, attributes)

    def _imported(self, source: Module, name: str, attributes: tuple[str, ...]) -> Iterator[Name]:
        """The definitions behind an imported name with attributes, as `fn.local_pod` or `package.module.name`."""
        module, attribute = source.imports[name]
        path = [*filter(None, [attribute]), *attributes]
        if not source.follows(module):
            self.outside.add(f"{name} = {module} {attribute}")
            return
        while path and module_of(f"{module}.{path[0]}"):
            module, path = f"{module}.{path[0]}", path[1:]
        found = module_of(module)
        if found is not None:  # a module that is passed on as a whole counts as a whole
            yield from ((module, each) for each in ([path[0]] if path else found.definitions))


def _chains(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names in a piece of code with the attributes asked of them: `a.b.c` is ("a", ("b", "c")). Annotations are
    left out."""
    attributes: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        attributes.insert(0, inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield inner.id, tuple(attributes)
        return
    for child in _children(inner):
        yield from _chains(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name, value in ast.iter_fields(node):
        if name not in _IGNORED and not isinstance(node, ast.Raise):
            yield from (
                each for each in (value if isinstance(value, list) else [value]) if isinstance(each, ast.AST)
            )


@dataclass(frozen=True)
class Module:
    """The top level of a source file."""

    name: str
    path: Path
    definitions: dict[str, ast.stmt]
    imports: dict[str, Name]
    """What each imported name stands for: a module, and a name in it (empty: the module itself)."""

    def follows(self, other: str) -> bool:
        """Whether `other` belongs to the same code: this package, or the package or folder of the plug-in."""
        root, own = other.partition(".")[0], self.name.partition(".")[0]
        if root in (PACKAGE, own):
            return True
        found = None if root in sys.stdlib_module_names else _path_of(root)
        if found is None or _home(root, found) != _home(self.name, self.path):
            return False
        return "site-packages" not in self.path.parts or bool(_distributions(root) & _distributions(own))


def _home(name: str, path: Path) -> Path:
    """The folder in which the outermost package of a module lies."""
    return path.parents[name.count(".") + (path.name == "__init__.py")]


def _distributions(package: str) -> set[str]:
    return set(_all_distributions().get(package, ()))


_all_distributions = cache(packages_distributions)


def module_of(name: str) -> Module | None:
    """The source of a module; None where there is no such Python file."""
    path = _path_of(name)
    return None if path is None else _parsed(name, path, path.stat().st_mtime_ns)


@cache
def _path_of(name: str) -> Path | None:
    """The file of a module. Below the outermost package it is found by its name: to ask Python would import."""
    root, *inner = name.split(".")
    try:
        spec = find_spec(root)
    except ValueError:  # __main__ has no specification
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    for part in inner:
        if path.name != "__init__.py":
            return None
        places = (path.with_name(f"{part}.py"), path.parent / part / "__init__.py")
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            return None
        path = found
    return path


@cache
def _parsed(name: str, path: Path, changed: int) -> Module:
    """A source file as it was `changed` last."""
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, Name] = {}
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0], ""
                )  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            imports |= {alias.asname or alias.name: (origin or "", alias.name) for alias in node.names}
        else:
            definitions |= dict.fromkeys(_defined(node), node)
    return Module(name, path, definitions, imports)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, with those under `if`, `try` and `with` in place of these."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            blocks = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
            for block in blocks:
                yield from _statements(block)
        else:
            yield node


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines at the top level."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)]


_IGNORED = ("annotation", "returns", "ctx", "type_comment", "type_params", "kind")
"""Fields of the syntax tree that decide nothing, or that differ between versions of Python."""


def shape(node: object, used: frozenset[str]) -> str:
    """What is left of a piece of code without docstrings, annotations, messages of errors, and fields of
    dataclasses that nothing reads (`used` has what is read). The same under all versions of Python."""
    if isinstance(node, list):
        return f"[{','.join(shape(each, used) for each in node if not _is_text(each))}]"
    if isinstance(node, ast.ClassDef):
        left = [each for each in node.body if not _decides_nothing(node, each, used)]
        node = ast.ClassDef(node.name, node.bases, node.keywords, left, node.decorator_list)
    if isinstance(node, ast.Raise):
        return "Raise"
    if isinstance(node, ast.AST):
        parts = ((name, value) for name, value in ast.iter_fields(node) if name not in _IGNORED)
        told = ",".join(f"{name}={shape(value, used)}" for name, value in parts if value not in (None, []))
        return f"{type(node).__name__}({told})"
    return repr(node)


def _is_text(node: object) -> bool:
    """Whether a statement is a docstring, or another text that stands for itself."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _decides_nothing(owner: ast.ClassDef, node: ast.stmt, used: frozenset[str]) -> bool:
    """Whether a statement of a class is a field of a dataclass that nothing reads, or says how a method is
    shown."""
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id in SHOWN for target in node.targets)
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
        return False
    is_dataclass = any("dataclass" in ast.dump(each) for each in owner.decorator_list)
    return node.target.id in SHOWN or (is_dataclass and node.target.id not in used)
