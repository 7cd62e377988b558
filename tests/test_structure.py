"""Who may import whom, what starts without torch, and how large files and functions may grow. Imports count
wherever they stand in a file: under TYPE_CHECKING and in functions, too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = {"errors", "files", "outputs", "plugins", "text", "wellformed"}
RECORD = {"issbench.results.record", "issbench.results.read_record", "issbench.results.counts"}
"""What the engine writes and results read: the one thing of `results` that is known below the commands."""
BELOW_BENCH = LEAVES | {"methods", "scenarios"}
ALLOWED = {
    "errors": set(),
    "text": set(),
    "wellformed": set(),
    "outputs": {"errors", "files"},
    "files": {"errors"},
    "plugins": {"errors"},
    "methods": LEAVES,
    "scenarios": LEAVES,
    "results": LEAVES,
    "bench/metrics": BELOW_BENCH,
    "bench": BELOW_BENCH | {"bench/metrics"},
    "bench/engine": BELOW_BENCH | {"bench", "bench/metrics"},
    "bench/launching": BELOW_BENCH | {"bench", "bench/metrics", "bench/engine"},
    "bench/speed": BELOW_BENCH | {"bench", "bench/metrics", "bench/engine"},
    "slurm": BELOW_BENCH | {"bench", "bench/metrics", "bench/engine", "bench/launching"},
    "bench/commands": BELOW_BENCH
    | {"bench", "bench/metrics", "bench/engine", "bench/launching", "bench/speed", "results"},
    "__main__": {"bench/commands"},
    "": {"bench", "bench/engine", "results"},  # what `issbench` exports
}
"""For each room, the rooms from which it may import, beside itself. Those above stand below."""
KNOW_THE_RECORD = {"bench", "bench/metrics", "bench/engine", "bench/launching", "slurm"}
HEAVY = {"torch", "torchvision", "timm", "scipy", "pandas", "matplotlib", "tensorboard"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("issbench", *(part for part in parts if part != "__init__")))


ROOMS = ("bench", "methods", "results", "scenarios", "slurm")
FILES = {module_name(p): p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))} | {
    module_name(p): p for p in sorted(ROOT.glob("*.py"))
}


def room_of(module: str) -> str:
    """The room of a module: a folder at the top, one of the folders in `bench`, or a file at the top."""
    first, second = [*module.split(".")[1:], "", ""][:2]
    return f"bench/{second}" if first == "bench" and (ROOT / "bench" / second).is_dir() and second else first


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """The modules that import statements name, ours and others."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"relative import in line {node.lineno}"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return found


@cache
def imports(module: str) -> set[str]:
    """The modules that a module imports anywhere."""
    return imported(ast.walk(tree(module)))


@cache
def at_once(module: str) -> set[str]:
    """The modules that run when a module is imported: without those of functions, and those for type checkers."""

    def statements(body: list[ast.stmt]) -> Iterator[ast.AST]:
        for node in body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                yield from statements(node.orelse)
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node
                for name in ("body", "orelse", "handlers", "finalbody"):
                    yield from statements(getattr(node, name, []))

    parts = module.split(".")
    packages = {".".join(parts[:end]) for end in range(1, len(parts))}
    return imported(statements(tree(module).body)) | packages


def rooms_of_imports(module: str) -> dict[str, str]:
    """The modules of other rooms that a module imports, with their rooms."""
    ours = {other: room_of(other) for other in imports(module) if other in FILES}
    return {other: room for other, room in ours.items() if room != room_of(module)}


@pytest.mark.parametrize("room", ALLOWED, ids=lambda room: room or "issbench")
def test_import_directions(room: str) -> None:
    wrong = {
        f"{module} imports {other}"
        for module in FILES
        if room_of(module) == room
        for other, its_room in rooms_of_imports(module).items()
        if its_room not in ALLOWED[room] and not (other in RECORD and room in KNOW_THE_RECORD)
    }
    assert not wrong


def test_every_room_has_its_directions() -> None:
    assert {room_of(module) for module in FILES} <= set(ALLOWED)


def reached_from(module: str, edges: Callable[[str], set[str]]) -> set[str]:
    """A module's imports, theirs, and so on: with itself only if it stands in a circle."""
    reached: set[str] = set()
    ahead = edges(module) & FILES.keys()
    while ahead:
        reached |= ahead
        ahead = set().union(*map(edges, ahead)) & FILES.keys() - reached
    return reached


def test_no_circles_between_files() -> None:
    reached = {module: reached_from(module, imports) for module in FILES}
    circles = {frozenset(each for each in reached[m] if m in reached[each]) for m in FILES if m in reached[m]}
    assert not [sorted(circle) for circle in circles]


def test_engine_names_no_method_and_no_dataset() -> None:
    from issbench.methods.interface.registry import available
    from issbench.scenarios.datasets import dataset_names

    names = {*available(), *dataset_names()}
    tables = {"issbench.bench.recipe"}  # the published recipes by dataset
    for module in FILES:
        if room_of(module) in ("bench", "bench/engine", "bench/metrics") and module not in tables:
            mine = {"memory"} if module == "issbench.bench.free_memory" else set()  # a controller of Linux
            constants = {node.value for node in ast.walk(tree(module)) if isinstance(node, ast.Constant)}
            assert not constants & names - mine, module


def test_files_are_short() -> None:
    limits = dict.fromkeys(FILES.values(), 300) | dict.fromkeys((ROOT / "tests").rglob("*.py"), 400)
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in limits}
    assert not {str(path): number for path, number in lines.items() if number > limits[path]}


def test_functions_are_short() -> None:
    """Without what they take, since a command takes many options."""
    functions = {
        f"{module}.{node.name}": node.body[-1].end_lineno - node.body[0].lineno + 1
        for module in FILES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef) and node.body[-1].end_lineno
    }
    assert not {name: lines for name, lines in functions.items() if lines > 40}


def test_what_plans_and_what_reads_results_imports_no_torch() -> None:
    """And so the command line, until a command needs it: `__main__` reaches all commands."""
    rooms = {"", "__main__", "results", "bench"} | LEAVES
    found = {}
    for module in FILES:
        if room_of(module) in rooms:
            for each in {module, *reached_from(module, at_once)}:
                if at_once(each) & {"torch", "torch.nn", "torchvision", "timm"}:
                    found[module] = each
    assert not found


def test_commands_answer_without_heavy_imports() -> None:
    lists = [["list", what] for what in ("methods", "scenarios", "orders", "backbones", "protocols")]
    code = f"""
import sys
from issbench.bench.commands.app import app
for words in {[["--help"], ["run", "--help"], ["doctor"], *lists]}:
    sys.argv = ["bench", *words]
    app(standalone_mode=False)
    heavy = set({sorted(HEAVY)}) & set(sys.modules)
    assert not heavy, (words, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "METHODS" in done.stdout and "gsc" in done.stdout
