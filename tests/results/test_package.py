"""What an installed package holds: the folders of the repository under one name, their data files, and no tests."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
ROOMS = ("bench", "methods", "results", "scenarios", "slurm")


def folder(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")} | {ROOT}
    assert {folder(name) for name in TOOL["packages"]} == folders
    assert all((path / "__init__.py").is_file() for path in folders)


@pytest.mark.parametrize("package", TOOL["packages"][1:])
def test_wheels_hold_every_file(package: str) -> None:
    there = {path for path in folder(package).iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")}
    patterns = TOOL["package-data"].get(package, ())
    assert there == {path for pattern in patterns for path in folder(package).glob(pattern)}


def test_the_data_are_there() -> None:
    declared = TOOL["package-data"].items()
    found = {path.name for name, patterns in declared for p in patterns for path in folder(name).glob(p)}
    wanted = {"py.typed", "schema.json", "references.bib", "numbers.csv", "misprints.csv", "script.js", "style.css"}
    assert wanted <= found
