"""The examples of docs/examples run as they stand, and what says who made this agrees with the package."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import matplotlib
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")


def cells(notebook: Path) -> list[str]:
    """The source of the code cells of a notebook that holds no outputs."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4 and not any(cell.get("outputs") for cell in content["cells"])
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def value_of(source: str, names: dict[str, Any]) -> Any:
    """What a cell gives: it is executed, and the value of its last expression is what a notebook shows."""
    *body, last = ast.parse(source).body
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None


def test_the_script_and_the_notebook_tell_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["first_runs.py", str(tmp_path / "runs")])
    runpy.run_path(str(EXAMPLES / "first_runs.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "images/s" in said and (tmp_path / "runs" / "table.csv").is_file()
    names: dict[str, Any] = {}
    shown = [value_of(source, names) for source in cells(EXAMPLES / "first_runs.ipynb")]
    miou = shown[1]
    assert set(miou) == {"FT", "PLOP"}
    assert all(f"{title}: {groups['all']:.1f} % mIoU" in said for title, groups in miou.items())
    assert len(shown[2]) == 4 and "all" in shown[2] and names["axes"].get_ylabel()
    assert capsys.readouterr().out == ""  # nothing is printed unless asked


def test_who_made_this_and_which_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^version: {re.escape(PROJECT['version'])}$", citation, re.MULTILINE)
    assert f"license: {PROJECT['license']}" in citation
    assert all(author["name"] in citation for author in PROJECT["authors"])


def test_the_image_installs_what_the_package_has() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    extras = re.search(r"/opt/issbench\[(.*?)\]", text)
    assert extras and set(extras.group(1).split(",")) <= set(PROJECT["optional-dependencies"])
    version = re.search(r"^FROM python:3\.(\d+)-slim$", text, re.MULTILINE)
    assert version and f"Programming Language :: Python :: 3.{version.group(1)}" in PROJECT["classifiers"]
    assert re.search(r"^ARG TORCH=cpu$", text, re.MULTILINE)
