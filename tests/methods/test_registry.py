"""Which methods there are, read without importing them, and those of other packages."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from issbench.methods.interface.registry import UnknownMethod, available, load_method, method_info
from issbench.methods.method import Method, Part

METHODS = ["ewc", "ft", "gsc", "ilt", "joint", "lwf", "lwf-mc", "mib", "pi", "plop", "rcil", "rw", "sdr"]
PARTS = ["pr", "sc", "sg", "sr"]
OF_GSC = ["pr", "sg", "sr", "sc"]  # in the order of their hooks
BUILT_IN = [*METHODS, *PARTS]


def declared_class(name: str) -> type[Method]:
    """The class of a method or of a part."""
    info = available()[name]
    return getattr(importlib.import_module(info.module), info.class_name)


def test_the_built_in_methods() -> None:
    assert sorted(available()) == sorted(BUILT_IN)
    assert [name for name, info in available().items() if info.part] == PARTS
    for name, info in available().items():
        method = declared_class(name)
        assert info.name == method.name == name
        assert (info.module, info.class_name) == (method.__module__, method.__name__)
        assert info.summary and info.summary == method.__doc__.splitlines()[0]
        assert info.source.is_file()
        assert method.title
        if not info.part:
            assert load_method(name) is method


def test_methods_parts_and_what_stands_alone() -> None:
    for name, info in available().items():
        method = declared_class(name)
        assert info.part == (Part in method.__bases__) == (name in PARTS)
        assert info.alone == method.alone and bool(info.alone) == (name == "joint")
        made_of = [each.name for each in method.__mro__[1:] if Part in each.__bases__]
        assert list(info.parts) == made_of == (OF_GSC if name == "gsc" else [])


@pytest.mark.parametrize("name", BUILT_IN)
def test_options_as_read_are_those_of_the_class(name: str) -> None:
    wanted = [(field.name, str(field.default)) for field in fields(declared_class(name).Options)]
    assert list(available()[name].options) == wanted


@pytest.mark.parametrize("name", ["rcil+gsc", "mib+sc+sr", "ft+pr"])
def test_options_of_a_combination_are_those_of_the_class(name: str) -> None:
    wanted = [(field.name, str(field.default)) for field in fields(load_method(name).Options)]
    assert list(method_info(name).options) == wanted
    assert method_info(name).name == name and method_info(name).summary


def test_inherited_options_come_first() -> None:
    names = [name for name, _ in method_info("gsc").options]
    assert names[:4] == [name for name, _ in method_info("plop").options]
    assert {"pr", "sg", "sr", "sc", "lambda1"} <= set(names)


@pytest.mark.parametrize("name, hint", [("plob", "did you mean plop"), ("xyz", "known: ewc, ft, gsc, .*, sdr")])
def test_unknown_method(name: str, hint: str) -> None:
    for ask in (method_info, load_method):
        with pytest.raises(UnknownMethod, match=f"unknown method '{name}'; {hint}") as info:
            ask(name)
        assert info.value.exit_code == 2


def python(code: str, *paths: Path) -> str:
    """What a fresh interpreter prints, with `paths` among its packages."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listing_needs_no_torch() -> None:
    python(
        "import sys, methods.registry; assert len(methods.registry.available()) >= 17; "
        "assert 'torch' not in sys.modules and 'methods.plop' not in sys.modules"
    )


# Methods of other packages


THEIRS = '''
import issbench.methods.plop
from dataclasses import dataclass
from typing import ClassVar
from issbench.methods import method
from issbench.methods.gsc import GSC
from issbench.methods.method import Part
from issbench.methods.plop import PLOP, PLOPOptions


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


@dataclass(frozen=True, kw_only=True)
class ExtraOptions:
    extra: float = 0.5


class Extra(method.Part):
    """Adds a term."""

    name = "extra"
    title = "Extra"
    Options = ExtraOptions

    def terms(self, batch, targets):
        return {**super().terms(batch, targets), "extra": self.options.extra * batch.student.logits.square().mean()}


class Silent(Part):
    """Has no options, and another name outside."""

    name = "silent"
    title = "Silent"


class Whole(Extra, PLOP):
    """Is made of their part."""

    name = "whole"
    title = "Whole"


class Hidden(Part):
    name = "hidden"
    title = "Hidden"


class Made(Hidden, PLOP):
    """Is made of a part that has no entry point."""

    name = "made"
    title = "Made"


class Lonely(PLOP):
    """Stands alone."""

    name = "lonely"
    title = "Lonely"
    alone = "it says so"
'''
ENTRIES = """
[issbench.methods]
mine = their_methods:Mine
heir = their_methods:Heir
plop = their_methods:Thief
extra = their_methods:Extra
quiet = their_methods:Silent
whole = their_methods:Whole
made = their_methods:Made
lonely = their_methods:Lonely
gone = package_that_is_gone:Gone
lost = package_that_is_gone.module:Lost
"""
SHOW = """
import json, sys
from issbench.methods.interface.registry import available, load_method
found = available()
assert "torch" not in sys.modules and "their_methods" not in sys.modules
assert all(name == i.name for name, i in found.items())
print(json.dumps({n: [i.module, i.class_name, i.summary, i.options, i.part, i.parts] for n, i in found.items()}))
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A directory of packages with methods."""
    (tmp_path / "their_methods.py").write_text(THEIRS)
    meta = tmp_path / "theirs-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(ENTRIES)
    return tmp_path


def test_methods_of_other_packages(packages: Path) -> None:
    found = json.loads(python(SHOW, packages))
    assert set(found) == {*BUILT_IN, "mine", "heir", "extra", "quiet", "whole", "made", "lonely"}
    module, class_name, summary, options, part, parts = found["mine"]
    assert (module, class_name, summary) == ("their_methods", "Mine", "Mine, in one line.")
    assert options == [
        ["pod", "7.0"], ["pod_logits", "0.0005"], ["thresholds", "paper"], ["least_threshold", "0.001"],
        ["mine", "a"],
    ]  # fmt: skip
    assert (part, parts) == (False, [])
    assert found["heir"][3] == found["gsc"][3]
    assert found["heir"][4:] == found["gsc"][4:] == [False, OF_GSC]  # inherited
    assert [found[name][4:] for name in ("extra", "quiet", "whole")] == [[True, []], [True, []], [False, ["extra"]]]
    assert found["plop"][0] == "methods.plop"  # a built-in method cannot be hidden


def test_methods_of_other_packages_load(packages: Path) -> None:
    code = (
        "from issbench.methods.interface.registry import load_method; "
        "print(load_method('mine').title, load_method('plop').title)"
    )
    assert python(code, packages).split() == ["Mine", "PLOP"]


COMBINE = """
from method_examples import CLASSES, batch, begun, make
from issbench.methods.interface.composition import CompositionError
from issbench.methods.interface.options import parse_options
from issbench.methods.interface.registry import load_method, method_info

def terms(name, **options):
    return list(begun(name, CLASSES, **options).loss(batch(CLASSES)))

assert terms("plop+extra", extra=2) == ["classification", "pod", "extra"]
assert terms("mib+whole") == ["classification", "distillation", "extra"]
assert terms("ft+quiet") == ["classification"]
assert terms("ft+quiet+extra") == ["classification", "extra"]
assert set(terms("mib+heir+extra")) == {"classification", "distillation", "relation", "confidence", "extra"}
assert dict(method_info("plop+extra").options)["extra"] == "0.5"
assert load_method("mine+extra").Options().extra == 0.5 and load_method("mine+extra").Options().pod == 7
one, two = (begun("plop+extra", CLASSES, extra=w).loss(batch(CLASSES))["extra"] for w in (1, 2))
assert two == 2 * one > 0
for name in ("heir+sc", "whole+extra", "mib+made", "lonely+sc", "mib+mine", "extra"):
    try:
        load_method(name)
    except CompositionError as error:
        print(name, error, sep=": ")
"""


def test_parts_of_other_packages(packages: Path) -> None:
    support = Path(__file__).parents[1] / "support"
    refused = dict(line.split(": ", 1) for line in python(COMBINE, packages, support).splitlines())
    assert "heir has sc already" in refused["heir+sc"]
    assert "whole has extra already" in refused["whole+extra"]
    assert "hidden" in refused["mib+made"] and "issbench.methods" in refused["mib+made"]
    assert "nothing can be put on top of lonely: it says so" in refused["lonely+sc"]
    assert "mine is a whole method" in refused["mib+mine"] and "extra" in refused["mib+mine"]
    assert "write METHOD+extra" in refused["extra"]


def test_the_list_tells_what_can_be_combined(packages: Path) -> None:
    text = python(
        "import sys; sys.argv = ['bench', 'list', 'methods']; from issbench.bench.commands.app import main; main()",
        packages,
    )
    methods, parts = text.split("PARTS")
    first_words = [line.split()[0] for line in methods.splitlines() if line and line[0] != " "]
    assert first_words == ["METHODS", *METHODS, "mine", "heir", "whole", "made", "lonely"]
    first_words = [line.split()[0] for line in parts.splitlines()[1:] if line[0] != " "]
    assert first_words[:6] == [*PARTS, "extra", "quiet"]
    assert "METHOD+PART" in parts.splitlines()[0] and "rcil+gsc" in parts
    assert "(pr, sg, sr, sc)" in parts and "options: sr=on, lambda1=0.3" in parts
    assert methods.count("takes no parts") == 2  # joint and lonely
