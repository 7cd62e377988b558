"""What SECURITY.md promises of the whole suite: nothing executes what it reads, and nothing goes over a network."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from commands import bench
from small_folder import RECIPE, small_folder

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for room in ("bench", "methods", "results", "scenarios", "slurm") for path in (ROOT / room).rglob("*.py")
]
SOURCES += ROOT.glob("*.py")
RUNS_WORDS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "subprocess.getoutput",
}
"""Functions that execute what they are given."""
NEEDED = {
    "torch.load": ("weights_only", True),
    "archive.extractall": ("filter", None),
}
"""Functions that execute or write anything, unless they are told not to; None: any value."""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str | None, Any]:
    return {word.arg: word.value.value if isinstance(word.value, ast.Constant) else word for word in call.keywords}


def test_nothing_executes_what_it_reads() -> None:
    found = []
    for path in SOURCES:
        for name, call in calls(path):
            given = keywords(call)
            bad = name in RUNS_WORDS or given.get("shell") or given.get("allow_pickle")
            for needy, (word, value) in NEEDED.items():
                if name == needy:
                    bad = bad or word not in given or (value is not None and given[word] is not value)
            if bad:
                found.append(f"{path.relative_to(ROOT)}:{call.lineno} {ast.unparse(call)}")
    assert not found


def test_nothing_goes_over_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*address: object) -> NoReturn:
        raise AssertionError(f"a connection to {address}")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    out, data = tmp_path / "store", small_folder(tmp_path / "data")
    settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    bench(
        "run", "--methods", "ft", "--scenario", "folder_2-1", "--data", data, "--out", out, "--workers", 0,
        "--device", "cpu", *settings,
    )  # fmt: skip
    (name,) = [path.name for path in (out / "runs").iterdir()]
    bench("table", "--out", out)
    bench("show", name, "--out", out)
    bench("report", "--out", out, "--output", tmp_path / "report.html")
    bench("data", "check", "folder", "--root", data)
