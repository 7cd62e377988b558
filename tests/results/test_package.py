"""What an installed package holds: every data file is declared, every folder of modules is a package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
PACKAGES = [pattern.rstrip("*") for pattern in TOOL["packages"]["find"]["include"]]


@pytest.mark.parametrize("package", PACKAGES)
def test_wheels_hold_every_file(package: str) -> None:
    folder = ROOT / package
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files == {path for pattern in TOOL["package-data"].get(package, ()) for path in folder.glob(pattern)}
    assert all((path.parent / "__init__.py").is_file() for path in folder.rglob("*.py"))


def test_the_data_are_there() -> None:
    found = {path.name for pattern in TOOL["package-data"]["results"] for path in (ROOT / "results").glob(pattern)}
    assert {"schema.json", "references.bib", "numbers.csv", "misprints.csv", "script.js", "style.css"} <= found
