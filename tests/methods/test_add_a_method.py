"""docs/add-a-method.md: its files, taken from the page, are installed and run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from small_folder import RECIPE, small_folder

from issbench.results.runs import load_runs

PAGE = Path(__file__).parents[2] / "docs" / "add-a-method.md"


def files() -> dict[str, str]:
    """The files of the page: a line with the name in backticks, and the block of code after it."""
    return dict(re.findall(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))


def commands() -> list[list[str]]:
    """The commands of the page's shell block."""
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    return [shlex.split(line) for line in block.splitlines()]


@dataclass
class Installed:
    """A folder with the files, and one with the installed package."""

    source: Path
    packages: Path

    def run(self, *command: str) -> str:
        """What a Python module prints that finds the package, and not its source."""
        search = os.pathsep.join([str(self.packages), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=False, timeout=600,
            env=os.environ | {"PYTHONPATH": search},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Packaged with what is there: neither the index nor a download is needed."""
    try:
        found = tuple(map(int, version("setuptools").split(".")[:2]))
        version("pip")
    except PackageNotFoundError as missing:
        pytest.skip(f"no {missing.name} here")
    if found < (70, 1):
        pytest.skip("setuptools older than 70.1 makes no wheels by itself")
    root = tmp_path_factory.mktemp("add")
    for name, text in files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    package = Installed(root / "careful", root / "packages")
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    package.run("pip", "install", *options, "--target", str(package.packages), str(package.source))
    return package


def test_the_page_has_the_files_and_few_lines() -> None:
    assert list(files()) == [
        "careful/pyproject.toml",
        "careful/issbench_careful.py",
        "careful/test_careful.py",
    ]
    project, method, _ = files().values()
    assert len([line for line in (project + method).splitlines() if line.strip()]) <= 60
    assert all(len(line) <= 116 for text in files().values() for line in text.splitlines())


def test_every_hook_is_explained_in_the_engines_order() -> None:
    from issbench.methods.method import Method

    fields = ("loss", "Options", "Head")
    hooks = [name for name, value in vars(Method).items() if callable(value) and name not in fields]
    rows = re.findall(r"^\| `(\w+)\(", PAGE.read_text("utf-8"), re.M)
    assert rows == [name for name in hooks if name in rows]
    assert set(hooks) - set(rows) <= {"__init__"}


def test_the_list_has_the_method_and_the_part(installed: Installed) -> None:
    assert commands()[0] == ["pip", "install", "./careful"]
    assert commands()[1] == ["bench", "list", "methods"]
    methods, parts = installed.run("issbench", "list", "methods").split("PARTS")
    assert "Careful: the old model's probabilities" in methods and "distillation=100.0, power=1.0" in methods
    assert "Calm: the features" in parts


def test_the_command_runs_to_the_end(installed: Installed, tmp_path: Path) -> None:
    """As on the page, but with fewer and smaller images."""
    name, action, *arguments = commands()[2]
    assert (name, action) == ("bench", "run")
    arguments[arguments.index("shapes_4-1")] = "folder_2-1"
    arguments += ["--data", str(small_folder(tmp_path / "data")), "--out", str(tmp_path / "out"), "--workers", "0"]
    arguments += [text for key, value in RECIPE.items() for text in ("--set", f"{key}={value}")]
    printed = installed.run("issbench", action, *arguments)
    assert all(title in printed for title in ("Careful", "Careful (power=2.0)", "MiB+Calm"))
    runs = {run.experiment["method"]: run for run in load_runs(tmp_path / "out")}
    assert set(runs) == {"ft", "careful", "careful:power=2.0", "mib+calm"}
    for method, terms in {"careful": {"distillation"}, "mib+calm": {"distillation", "calm"}}.items():
        steps = runs[method].record["steps"]
        assert len(steps) == 2
        assert all(set(step["training"]["history"][0]) == {"classification"} | terms for step in steps[1:])


def test_its_own_test_passes(installed: Installed) -> None:
    assert "2 passed" in installed.run("pytest", "-q", "-p", "no:cacheprovider", str(installed.source))
