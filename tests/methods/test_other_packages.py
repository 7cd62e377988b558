"""Methods and parts of other packages, declared by entry points: read without importing them, loaded, combined."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from fresh_python import python

from issbench.methods.interface.info import MethodInfo, Option
from issbench.methods.interface.registry import available

BUILT_IN = sorted(name for name, info in available().items() if info.module.startswith("issbench."))

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


class Mine(issbench.methods.plop.PLOP):
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
    not_composable_because = "it says so"
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
import pickle, sys
from issbench.methods.interface.registry import available
found = available()
assert "torch" not in sys.modules and "their_methods" not in sys.modules
assert all(name == info.name for name, info in found.items())
print(pickle.dumps(found).hex())
"""


def their_declarations(*paths: Path) -> dict[str, MethodInfo]:
    """What a fresh interpreter finds with `paths` among its packages."""
    return pickle.loads(bytes.fromhex(python(SHOW, *paths)))


def install(folder: Path, files: dict[str, str], entries: str) -> None:
    """Write packages and their entry points."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    meta = folder / "theirs-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(entries)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A directory of packages with methods."""
    install(tmp_path, {"their_methods.py": THEIRS}, ENTRIES)
    return tmp_path


def test_methods_of_other_packages(packages: Path) -> None:
    found = their_declarations(packages)
    assert set(found) - set(available()) == {"mine", "heir", "extra", "quiet", "whole", "made", "lonely"}
    mine, plop, gsc = found["mine"], found["plop"], found["gsc"]
    assert (mine.module, mine.class_name, mine.summary) == ("their_methods", "Mine", "Mine, in one line.")
    usual = [option for option in plop.options if option.name != "pod"]
    assert list(mine.options) == [Option("pod", float, 7.0), *usual, Option("mine", str, "a")]
    assert not mine.part and mine.parts == ()
    assert mine.published == plop.published  # inherited
    assert (mine.title, mine.colour, mine.cite, mine.table_order) == ("Mine", "", "", None)  # not inherited
    assert found["heir"].options == gsc.options and found["heir"].parts == gsc.parts != ()
    assert [(found[name].part, found[name].parts) for name in ("extra", "quiet", "whole")] == [
        (True, ()),
        (True, ()),
        (False, ("extra",)),
    ]
    assert plop.module == "issbench.methods.plop"  # a built-in method cannot be hidden


def test_methods_of_other_packages_load(packages: Path) -> None:
    code = (
        "from issbench.methods.interface.registry import load_method; "
        "print(load_method('mine').title, load_method('plop').title)"
    )
    assert python(code, packages).split() == ["Mine", "PLOP"]


BASES = """
from dataclasses import dataclass
from typing import ClassVar, Literal
from issbench.methods.method import Method

LIMIT = 3

@dataclass(frozen=True, kw_only=True)
class Base:
    weight: "float" = 1
    sizes: tuple[int, ...] = (1, 2)
    limit: int = LIMIT
    note: str | None = None
    level: Literal[1, 2] = 1
    unit: ClassVar[str] = "m"

class Theirs(Method):
    published = {"ade": {"weight": 3.0}}
"""
METHOD = """
from dataclasses import dataclass
from . import bases
from .bases import Base, Theirs

class Far(Theirs):
    "Its bases are in another file of its package."

    name = "far"
    title = "Far"
    table_order, colour = 55, "#123456"

    @dataclass(frozen=True, kw_only=True)
    class Options(Base):
        own: bool = False

class Odd(Theirs):
    "Its settings are computed."

    name = "odd"
    published = dict(ade={"weight": 3.0})
"""
RESOLVE = """
from issbench.methods.interface.options import OptionError, canonical_options, resolved_options
from issbench.methods.interface.registry import load_method, method_info

far = method_info("far")
given = {"weight": "3", "sizes": "(1, 2)", "limit": "3", "level": "2"}
assert canonical_options(far, "ade", given) == {"level": "2", "limit": "3"}
resolved = resolved_options(far, "ade", given)
assert resolved == {"weight": 3.0, "sizes": "(1, 2)", "limit": 3, "note": None, "level": 2, "own": False}
options = load_method("far").Options(**resolved_options(far, "voc", {}))
assert (options.weight, options.sizes, options.limit, options.level) == (1.0, (1, 2), 3, 1)
try:
    resolved_options(method_info("odd"), "ade", {})
except OptionError as error:
    print(error)
"""


@pytest.mark.parametrize("package", ["theirs/methods.py", "theirs/far/__init__.py"])
def test_what_the_source_does_not_spell_out(tmp_path: Path, package: str) -> None:
    """Bases in other files of a package are found; what is not a literal is left to the class, or refused."""
    bases = str(Path(package).parent / "bases.py")
    module = package.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    entries = f"[issbench.methods]\nfar = {module}:Far\nodd = {module}:Odd\n"
    install(tmp_path, {"theirs/__init__.py": "", package: METHOD, bases: BASES}, entries)
    shown = python("from issbench.methods.interface.registry import available; print(available()['far'])", tmp_path)
    for text in (
        "'weight', kind=<class 'float'>, default=1.0",
        "'sizes', kind=None, default=(1, 2)",
        "'limit', kind=<class 'int'>, default='LIMIT'",
        "'own', kind=<class 'bool'>, default=False",
        "table_order=55, colour='#123456'",
        "published={'ade': {'weight': 3.0}}",
    ):
        assert text in shown
    assert "unit" not in shown
    refused = python(RESOLVE, tmp_path)
    assert "`published` of method odd cannot be read" in refused and "literal dictionary" in refused


COMBINE = """
from method_examples import CLASSES, batch, begun, make
from issbench.methods.interface.composition import CompositionError
from issbench.methods.interface.registry import load_method, method_info

def terms(name, **options):
    return list(begun(name, CLASSES, **options).loss(batch(CLASSES)))

assert terms("plop+extra", extra=2) == ["classification", "pod", "extra"]
assert terms("mib+whole") == ["classification", "distillation", "extra"]
assert terms("ft+quiet") == ["classification"]
assert terms("ft+quiet+extra") == ["classification", "extra"]
assert set(terms("mib+heir+extra")) == {"classification", "distillation", "relation", "confidence", "extra"}
assert {o.name: o.default for o in method_info("plop+extra").options}["extra"] == 0.5
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
    own = [name for name, info in available().items() if name in BUILT_IN and not info.part]
    assert first_words == ["METHODS", *own, "mine", "heir", "whole", "made", "lonely"]
    first_words = [line.split()[0] for line in parts.splitlines()[1:] if line[0] != " "]
    own = [name for name, info in available().items() if name in BUILT_IN and info.part]
    assert first_words[: len(own) + 2] == [*own, "extra", "quiet"]
    assert "METHOD+PART" in parts.splitlines()[0] and "rcil+gsc" in parts
    assert "(pr, sg, sr, sc)" in parts and "options: form=released, sr=on, lambda1=0.3" in parts
    alone = sum(bool(info.not_composable_because) for info in available().values())
    assert methods.count("takes no parts") == alone + 1  # and lonely
