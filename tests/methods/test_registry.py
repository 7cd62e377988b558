"""Which methods there are, read without importing them, and those of other packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from methods.registry import UnknownMethod, available, load_method, method_info

BUILT_IN = ["ft", "gsc", "joint", "mib", "plop"]


def test_the_built_in_methods() -> None:
    assert list(available()) == BUILT_IN
    for name, info in available().items():
        method = load_method(name)
        assert info.name == method.name == name
        assert (info.module, info.class_name) == (method.__module__, method.__name__)
        assert info.summary and info.summary == method.__doc__.splitlines()[0]
        assert info.source.is_file()
        assert method.title


@pytest.mark.parametrize("name", BUILT_IN)
def test_options_as_read_are_those_of_the_class(name: str) -> None:
    wanted = [(field.name, str(field.default)) for field in fields(load_method(name).Options)]
    assert list(method_info(name).options) == wanted


def test_inherited_options_come_first() -> None:
    names = [name for name, _ in method_info("gsc").options]
    assert names[:3] == [name for name, _ in method_info("plop").options]
    assert {"pr", "sg", "sr", "sc", "lambda1"} <= set(names)


@pytest.mark.parametrize("name, hint", [("plob", "did you mean plop"), ("xyz", f"known: {', '.join(BUILT_IN)}")])
def test_unknown_method(name: str, hint: str) -> None:
    for ask in (method_info, load_method):
        with pytest.raises(UnknownMethod, match=f"unknown method '{name}'; {hint}") as info:
            ask(name)
        assert info.value.exit_code == 2


def python(code: str, path: Path | None = None) -> str:
    """What a fresh interpreter prints, with `path` among its packages."""
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    run = [sys.executable, "-c", code]
    return subprocess.run(run, capture_output=True, text=True, check=True, env=environment).stdout


def test_listing_needs_no_torch() -> None:
    python(
        "import sys, methods.registry; assert len(methods.registry.available()) >= 5; "
        "assert 'torch' not in sys.modules and 'methods.plop' not in sys.modules"
    )


# Methods of other packages


METHODS = '''
import methods.plop
from dataclasses import dataclass
from typing import ClassVar
from methods.gsc import GSC
from methods.plop import PLOPOptions


@dataclass(frozen=True, kw_only=True)
class Options(PLOPOptions):
    pod: float = 7.0
    mine: str = "a"


class Mine(methods.plop.PLOP):
    """Mine, in one line.

    And in more.
    """

    name: ClassVar[str] = "mine"
    title = "Mine"
    Options = Options


class Heir(GSC):
    """Has the options of its parent."""

    name = "heir"
    title = "Heir"


class Thief(GSC):
    """Would take the place of plop."""

    name = "plop"
    title = "Thief"


class Undeclared(GSC):
    """Has no entry point."""

    name = "undeclared"
'''
ENTRIES = """
[issbench.methods]
mine = their_methods:Mine
heir = their_methods:Heir
plop = their_methods:Thief
gone = package_that_is_gone:Gone
lost = package_that_is_gone.module:Lost
"""
SHOW = """
import json, sys
from methods.registry import available, load_method
found = available()
assert "torch" not in sys.modules and "their_methods" not in sys.modules
print(json.dumps({i.name: [i.module, i.class_name, i.summary, i.options] for i in found.values()}))
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A directory of packages with methods."""
    (tmp_path / "their_methods.py").write_text(METHODS)
    meta = tmp_path / "theirs-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(ENTRIES)
    return tmp_path


def test_methods_of_other_packages(packages: Path) -> None:
    found = json.loads(python(SHOW, packages))
    assert set(found) == {*BUILT_IN, "mine", "heir"}
    module, class_name, summary, options = found["mine"]
    assert (module, class_name, summary) == ("their_methods", "Mine", "Mine, in one line.")
    assert options == [["pod", "7.0"], ["pod_logits", "0.0005"], ["least_threshold", "0.001"], ["mine", "a"]]
    assert found["heir"][3] == found["gsc"][3]
    assert found["plop"][0] == "methods.plop"  # a built-in method cannot be hidden


def test_methods_of_other_packages_load(packages: Path) -> None:
    code = "from methods.registry import load_method; print(load_method('mine').title, load_method('plop').title)"
    assert python(code, packages).split() == ["Mine", "PLOP"]
