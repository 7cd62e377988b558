"""The fingerprint of code: what changes a result changes it, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from issbench.bench.fingerprint import class_fingerprint, files_of, fingerprint

METHOD = '''"""A plug-in."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .helpers import scaled
from . import constants
from careful import numbers
import other.deep as deep


@dataclass(frozen=True)
class Options:
    """Options."""

    weight: float = 0.5


class Careful:
    """A method."""

    title = "Careful"
    colour = "#000000"
    Options = Options

    def terms(self, batch: int) -> float:
        """The terms."""
        if batch < 0:
            raise ValueError(f"a batch of {batch}")
        return scaled(batch) - self.options.weight * constants.W * numbers.ONE + deep.two()


class Unrelated:
    value = 1
'''
FILES = {
    "careful/__init__.py": "",
    "careful/method.py": METHOD,
    "careful/helpers.py": "def scaled(x: int) -> int:\n    return inner(x)\n\n\ndef inner(x):\n    return 2 * x\n",
    "careful/constants.py": "W = 1\nUNUSED = 3\n",
    "careful/numbers.py": "ONE = 1.0\n",
    "other/__init__.py": "",
    "other/deep.py": "def two():\n    return 2\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def of(package: Path) -> str:
    """The fingerprint of the plug-in's method, in a process that has not read it before."""
    code = (
        "import sys; from issbench.bench.fingerprint import fingerprint; "
        "print(fingerprint(('careful.method', 'Careful'))); assert 'torch' not in sys.modules"
    )
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    return done.stdout.strip()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("method.py", '"""A method."""', '"""Another text."""'),
        ("method.py", "batch: int", "batch: float"),
        ("method.py", "-> float", "-> int"),
        ("method.py", 'f"a batch of {batch}"', 'f"a batch must not be negative, as {batch} is"'),
        ("method.py", "        return scaled", "        # a comment\n\n        return scaled"),
        ("method.py", 'title = "Careful"', 'title = "CAREFUL"'),
        ("method.py", 'colour = "#000000"', 'colour = "#FFFFFF"'),
        ("method.py", "    weight: float = 0.5", "    weight: float = 0.5\n    unread: float = 0.0"),
        ("method.py", "value = 1", "value = 2"),
        ("constants.py", "UNUSED = 3", "UNUSED = 4"),
        ("helpers.py", "def scaled", "def new():\n    pass\n\n\ndef scaled"),
    ],
)
def test_what_decides_nothing(package: Path, name: str, old: str, new: str) -> None:
    before = of(package)
    edit(package / "careful" / name, old, new)
    assert of(package) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("careful/method.py", "scaled(batch) - self", "scaled(batch) + self"),
        ("careful/method.py", "weight: float = 0.5", "weight: float = 0.7"),
        ("careful/method.py", "batch < 0", "batch <= 0"),
        ("careful/helpers.py", "2 * x", "3 * x"),
        ("careful/constants.py", "W = 1", "W = 7"),
        ("careful/numbers.py", "1.0", "1.5"),
        ("other/deep.py", "return 2", "return 3"),
    ],
)
def test_what_decides_a_result(package: Path, name: str, old: str, new: str) -> None:
    before = of(package)
    edit(package / name, old, new)
    assert of(package) != before


def test_moved_code_is_the_same_code(package: Path) -> None:
    before = of(package)
    helpers = package / "careful" / "helpers.py"
    inner = "def inner(x):\n    return 2 * x\n"
    edit(helpers, inner, "")
    helpers.write_text("from careful.moved import inner\n" + helpers.read_text())
    (package / "careful" / "moved.py").write_text(inner)
    assert of(package) == before


def test_the_functions_that_a_method_uses_are_in_it() -> None:
    files = {path.name for path in files_of(("issbench.methods.gsc", "GSC"))}
    assert {"gsc.py", "plop.py", "sr.py", "method.py", "background.py", "compensation.py"} <= files
    assert "sdr.py" not in files and "torch" not in " ".join(files)


def test_methods_differ_and_share_what_they_share() -> None:
    from issbench.methods.interface.registry import available, load_method

    names = [name for name, info in available().items() if not info.part]
    found = {name: class_fingerprint(load_method(name)) for name in [*names, "ft+sr", "ft+sc"]}
    assert len(set(found.values())) == len(found)


def test_a_name_that_is_nowhere_has_no_code() -> None:
    empty = fingerprint(("issbench.methods.gsc", "Nothing"))
    assert empty == fingerprint(("no.such.module", "Nothing")) != fingerprint(("issbench.methods.gsc", "GSC"))
