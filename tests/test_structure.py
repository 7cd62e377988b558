"""Who may import whom, what starts without torch, and how large files may grow."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("bench", "methods", "scenarios", "results", "slurm")
ALLOWED = {
    "methods": set(),
    "scenarios": set(),
    "results": set(),
    "bench": {"methods", "scenarios"},
    "slurm": {"bench", "methods", "scenarios"},
}


def imports(path: Path) -> set[str]:
    """The rooms from which a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("issbench.")}


@pytest.mark.parametrize("room", ROOMS)
def test_import_directions(room):
    for path in (ROOT / room).rglob("*.py"):
        # The command line stands above all rooms.
        allowed = set(ROOMS) if "commands" in path.parts else ALLOWED[room] | {room}
        assert imports(path) & set(ROOMS) <= allowed, path


def test_engine_names_no_method_and_no_dataset():
    from issbench.methods.interface.registry import available
    from issbench.scenarios.datasets import dataset_names

    names = {*available(), *dataset_names()}
    tables = {ROOT / "bench" / "recipe.py"}  # the published recipes by dataset
    for path in {*(ROOT / "bench").glob("*.py"), *(ROOT / "bench" / "engine").glob("*.py")} - tables:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not texts & names, path


def test_files_are_short():
    for room in (*ROOMS, "tests"):
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 420, path  # about 400


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        (["--help"], 0.5),
        (["run", "--help"], 0.5),
        (["list", "methods"], 1.0),
        (["list", "scenarios"], 1.0),
        (["list", "orders"], 1.0),
        (["list", "backbones"], 1.0),
        (["list", "protocols"], 1.0),
    ],
)
def test_answers_at_once_without_torch(arguments, seconds):
    check = (
        "import sys; from issbench.bench.commands.app import app; app(standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    code = f"import sys; sys.argv = ['bench', *{arguments!r}]; {check}"
    times = []
    for _ in range(3):  # the best of three: the limit is the program's, not the machine's other work
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
        times.append(time.monotonic() - started)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert min(times) <= seconds
