"""What an installed package holds, and that it works inside a project that has folders of the same names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import ZipFile

import pytest
from small_folder import RECIPE, small_folder

import issbench

ROOT = Path(__file__).resolve().parents[1]
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
ROOMS = ("bench", "methods", "results", "scenarios", "slurm")
NO_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
PIP = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]

PLUG_IN = '''
from issbench.methods.method import Method


class Ours(Method):
    """Ours: fine-tuning by another name."""

    name = "ours"
    title = "Ours"
    uses_teacher = False
'''
METADATA = "Metadata-Version: 2.1\nName: research\nVersion: 1.0\n"
ENTRY_POINT = "[issbench.methods]\nours = methods.ours:Ours\n"


def folder(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")} | {ROOT}
    assert {folder(name) for name in TOOL["packages"]} == folders, "see packages in pyproject.toml"
    assert all((path / "__init__.py").is_file() for path in folders)


@dataclass(frozen=True)
class Installed:
    """The wheel, the folder in which it is installed, and a project that has folders of the same names as ours."""

    wheel: Path
    site: Path
    project: Path

    def run(self, *command: object) -> str:
        """What a command prints that is started in the project and finds it and the installed package."""
        done = subprocess.run(
            [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, timeout=600,
            cwd=self.project, env=os.environ | {"PYTHONPATH": f"{self.site}{os.pathsep}{self.project}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built and installed with what is there: neither the index nor a download is needed."""
    try:
        found = int(version("setuptools").split(".")[0])
        version("pip")
    except PackageNotFoundError as missing:
        pytest.skip(f"no {missing.name} here")
    if found < 77:
        pytest.skip("pyproject.toml needs setuptools 77")
    root = tmp_path_factory.mktemp("package")
    # A copy: to build leaves files in the source, and would take in those that an earlier build left there.
    shutil.copytree(ROOT, root / "source", ignore=NO_SOURCE)
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", *PIP, "--no-build-isolation", "--wheel-dir", str(root), str(root / "source")]
    subprocess.run(build, check=True)
    (wheel,) = root.glob("*.whl")
    subprocess.run([*pip, "install", *PIP, "--target", str(root / "site"), str(wheel)], check=True)
    return Installed(wheel, root / "site", a_project(root / "project"))


def a_project(root: Path) -> Path:
    """A research project with folders as it likes, and an installed method of its own."""
    for name in ROOMS:
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text(f'raise ImportError("the {name} of the project")\n')
    (root / "methods" / "__init__.py").write_text("")  # the plug-in lies in it
    (root / "methods" / "ours.py").write_text(PLUG_IN)
    metadata = root / "research-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA)
    (metadata / "entry_points.txt").write_text(ENTRY_POINT)
    return root


def test_the_wheel_holds_the_package_and_nothing_else(installed: Installed) -> None:
    names = {name for name in ZipFile(installed.wheel).namelist() if ".dist-info/" not in name}
    files = {path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()} | {*ROOT.glob("*.py")}
    ours = {path for path in files if "__pycache__" not in path.parts} | {ROOT / "py.typed"}
    assert names == {f"issbench/{path.relative_to(ROOT).as_posix()}" for path in ours}
    suffixes = {Path(name).suffix for name in names}
    assert suffixes >= {".py", ".typed", ".csv", ".bib", ".json", ".css", ".js"}


def test_only_the_package_and_its_command_are_installed(installed: Installed) -> None:
    assert {path.name.partition("-")[0] for path in installed.site.iterdir()} == {"issbench", "bin"}
    assert [path.name for path in (installed.site / "bin").iterdir()] == ["bench"]


def test_the_installed_package_is_what_the_project_imports(installed: Installed) -> None:
    """Seen from there, `issbench` is the wheel's, and `methods` is the project's own."""
    code = "import issbench.results, methods; print(issbench.__file__, methods.__file__, sep='\\n')"
    ours, theirs = map(Path, installed.run("-c", code).split())
    assert ours.parent == installed.site / "issbench"
    assert theirs.parent == installed.project / "methods"


@pytest.mark.parametrize("command", [["-m", "issbench"], ["bin/bench"]], ids=["python -m issbench", "bench"])
def test_the_command_lists_the_method_of_the_project(installed: Installed, command: list[str]) -> None:
    first, *more = command
    printed = installed.run(installed.site / first if "/" in first else first, *more, "list", "methods")
    assert "Ours: fine-tuning by another name." in printed
    assert "Fine-tuning: cross-entropy" in printed


def test_the_command_trains_the_method_of_the_project(installed: Installed, tmp_path: Path) -> None:
    settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    options = [
        "--data",
        small_folder(tmp_path / "data"),
        "--out",
        tmp_path / "out",
        "--workers",
        0,
        "--device",
        "cpu",
    ]
    printed = installed.run(
        "-m", "issbench", "run", "--methods", "ours", "--scenario", "folder_2-1", *options, *settings
    )
    assert "Ours" in printed
    assert len([*(tmp_path / "out" / "runs").glob("*/run.json")]) == 1


def test_all_exported_names_can_be_had() -> None:
    assert set(issbench.__all__) <= set(dir(issbench))
    for name in issbench.__all__:
        assert getattr(issbench, name).__module__.startswith("issbench."), name
    with pytest.raises(AttributeError, match="has no attribute 'runs_away'"):
        issbench.runs_away  # noqa: B018
