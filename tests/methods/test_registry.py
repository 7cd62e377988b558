"""Which methods there are, read without importing them."""

from __future__ import annotations

import importlib
import re
from dataclasses import MISSING, fields
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from fresh_python import ROOT, python

from issbench.methods.interface.info import FACTS, Option
from issbench.methods.interface.options import resolved_options
from issbench.methods.interface.registry import UnknownMethod, available, load_method, method_info
from issbench.methods.method import Method, Part

BUILT_IN = sorted(name for name, info in available().items() if info.module.startswith("issbench."))
COMBINATIONS = ["rcil+gsc", "mib+sc+sr", "ft+pr", "ewc+sg"]


def declared_class(name: str) -> type[Method]:
    """The class of a method or of a part."""
    info = available()[name]
    return getattr(importlib.import_module(info.module), info.class_name)


def fields_of(options: type) -> list[Option]:
    """The fields of a dataclass as its import shows them."""
    hints, ranged = get_type_hints(options), get_type_hints(options, include_extras=True)
    within = {name: get_args(kind)[1] for name, kind in ranged.items() if get_origin(kind) is Annotated}
    return [Option(each.name, hints[each.name], each.default, within.get(each.name)) for each in fields(options)]


def test_every_file_of_the_folder_has_its_method() -> None:
    """`ls methods` and `ls methods/parts` answer which methods there are."""
    files = {*(ROOT / "methods").glob("*.py"), *(ROOT / "methods" / "parts").glob("*.py")}
    others = {
        ROOT / "methods" / name for name in ("__init__.py", "method.py", "functional.py", "parts/__init__.py")
    }
    assert {available()[name].source for name in BUILT_IN} == files - others
    assert len(BUILT_IN) == len(files - others)
    for name in BUILT_IN:
        info = available()[name]
        assert info.source.stem == name.replace("-", "_")
        assert info.part == (info.source.parent.name == "parts")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_declaration_as_read_is_that_of_the_class(name: str) -> None:
    info, method = available()[name], declared_class(name)
    assert info.name == method.name == name
    assert (info.module, info.class_name) == (method.__module__, method.__name__)
    assert info.summary and info.summary == method.__doc__.splitlines()[0]
    assert {fact: getattr(info, fact) for fact in FACTS} == {
        fact: vars(method).get(fact, getattr(Method, fact, "")) for fact in FACTS
    }
    assert info.title
    assert info.upper_bound == method.upper_bound
    assert info.published == method.published
    assert info.not_composable_because == method.not_composable_because
    assert info.part == (Part in method.__bases__)
    made_of = [each.name for each in method.__mro__[1:] if Part in each.__bases__]
    assert list(info.parts) == made_of
    if not info.part:
        assert load_method(name) is method


@pytest.mark.parametrize("name", [*BUILT_IN, *COMBINATIONS])
def test_options_as_read_are_those_of_the_class(name: str) -> None:
    info = available().get(name) or method_info(name)
    options = declared_class(name).Options if name in available() else load_method(name).Options
    wanted = fields_of(options)
    assert list(info.options) == wanted
    assert [type(option.default) for option in info.options] == [type(option.default) for option in wanted]
    assert all(option.default is not MISSING for option in wanted)


@pytest.mark.parametrize("name", [*BUILT_IN, *COMBINATIONS])
def test_the_published_settings_are_options_of_the_method(name: str) -> None:
    info = available().get(name) or method_info(name)
    kinds = {option.name: option.kind for option in info.options}
    for dataset, settings in info.published.items():
        assert all(type(value) is kinds[option] for option, value in settings.items()), dataset
        if not info.part:
            assert load_method(name).Options(**resolved_options(info, dataset, {}))


def test_no_two_methods_look_the_same_or_share_a_place() -> None:
    drawn = [available()[name] for name in BUILT_IN if not available()[name].part]
    for info in drawn:
        assert re.fullmatch(r"#[0-9A-F]{6}", info.colour) and info.marker and info.dashes, info.name
        assert info.table_order is not None
    for places in (
        [info.marker for info in drawn],
        [info.title for info in drawn],
        [info.table_order for info in drawn],
        [(info.colour, info.dashes) for info in drawn],
    ):
        assert len(set(places)) == len(places)


def test_every_method_is_described() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    headings = " ".join(re.findall(r"^## (.*)", page, re.MULTILINE))
    for name in BUILT_IN:
        info = available()[name]
        assert f"`{name}`" in page if info.part else re.search(rf"(?<![\w-]){info.title}(?![\w-])", headings), name


def test_what_is_cited_is_in_the_bibliography() -> None:
    bibliography = (ROOT / "results" / "references.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{([^,]+),", bibliography, re.MULTILINE))
    assert {available()[name].cite for name in BUILT_IN} - {""} <= keys


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_declaration_of_a_combination(name: str) -> None:
    info, method = method_info(name), load_method(name)
    base, *added = (available()[part] for part in name.split("+"))
    assert info.name == method.name == name
    assert info.title == "+".join(each.title for each in (base, *added)) and info.summary
    assert {fact: getattr(info, fact) for fact in FACTS} == {fact: getattr(method, fact) for fact in FACTS}
    assert (info.colour, info.marker, info.dashes, info.table_order) == ("", "", "", None)
    cited = dict.fromkeys(each.cite for each in (base, *added) if each.cite)
    assert info.cite == ",".join(cited)
    made_of = [each.name for each in method.__mro__ if Part in each.__bases__]
    assert list(info.parts) == made_of


def test_inherited_options_come_first() -> None:
    names = [option.name for option in method_info("gsc").options]
    assert names[:4] == [option.name for option in method_info("plop").options]
    assert {"pr", "sg", "sr", "sc", "lambda1"} <= set(names)


def test_unknown_methods() -> None:
    for name, hint in {"plob": "did you mean plop", "xyz": "known: .*sdr"}.items():
        for ask in (method_info, load_method):
            with pytest.raises(UnknownMethod, match=f"unknown method '{name}'; {hint}") as info:
                ask(name)
            assert info.value.exit_code == 2


def test_listing_needs_no_torch() -> None:
    python(
        "import sys; from issbench.methods.interface.registry import available; "
        "assert available()['plop'].options; "
        "assert 'torch' not in sys.modules and 'issbench.methods.plop' not in sys.modules"
    )
