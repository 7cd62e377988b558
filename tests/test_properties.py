"""What users write: a sound text comes back as it was meant, any other is understood or refused with a message."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from drawn import Drawn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from issbench.bench.experiment import (
    Experiment,
    canonical_method,
    experiment_of,
    parse_method,
    spec_of,
    split_methods,
)
from issbench.bench.launching.profile import Profile, make_profile, profile_of
from issbench.bench.recipe import Recipe, make_recipe, read_recipe_file
from issbench.errors import UserError
from issbench.methods.interface.info import Option
from issbench.methods.interface.options import resolved_options, spell
from issbench.methods.interface.registry import available, method_info
from issbench.scenarios.datasets import dataset_names
from issbench.scenarios.orders import canonical_order, resolve_order
from issbench.scenarios.scenario import make_scenario, parse_name

often = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
datasets = st.sampled_from(dataset_names())
letters = st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" ")


def understood(read: Callable[[], Any]) -> Any:
    """What was read; None where it was refused with a message. Every other error passes."""
    try:
        return read()
    except UserError as error:
        assert str(error).strip()
        return None


# Scenarios

sizes = st.integers(1, 999_999)
numbers = st.integers(-2, 10**7) | st.text(max_size=3)


@often
@given(datasets, sizes, sizes)
def test_names_of_scenarios_come_back(dataset: str, base: int, increment: int) -> None:
    assert parse_name(f"{dataset}_{base}-{increment}") == (dataset, base, increment)


@often
@given(
    st.text(max_size=20)
    | st.builds(
        "{}{}{}{}{}".format, datasets, st.sampled_from(["_", "__", "", "-", " "]), numbers,
        st.sampled_from(["-", "_", "--", "–", ""]), numbers,
    )
)  # fmt: skip
def test_every_text_is_one_scenario_or_none(text: str) -> None:
    found = understood(lambda: parse_name(text))
    assert found is None or "{}_{}-{}".format(*found) == text


@often
@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 70), st.randoms(use_true_random=False))
def test_steps_share_out_the_classes(count: int, base: int, increment: int, draw: Any) -> None:
    order = draw.sample(range(1, count + 1), count)
    dataset = Drawn([f"class {label}" for label in range(1, count + 1)], [])
    text = ",".join(map(str, order))
    found = understood(lambda: make_scenario(f"shapes_{base}-{increment}", dataset, "overlapped", text))
    assert (found is None) == (base > count)
    if found is not None:
        first, *later = found.steps
        assert [*found.learned] == order and len(first) == base
        assert all(len(step) == increment for step in later[:-1])
        assert not later or 1 <= len(later[-1]) <= increment


# Orders

names = st.lists(
    st.text(letters.filter(lambda sign: sign not in ",;"), min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda name: name.strip(" \t[](){}'\"") and not name.isdecimal()),
    min_size=1, max_size=9, unique_by=lambda name: name.strip(" \t\r[](){}'\""),
)  # fmt: skip


@often
@given(
    names,
    st.data(),
    st.sampled_from([",", ", ", ";", "\n", ",\n", " , "]),
    st.sampled_from(["{}", "[{}]", "({})", "0,{}"]),
)
def test_every_permutation_comes_back(names: list[str], data: st.DataObject, between: str, around: str) -> None:
    labels = {name: label for label, name in enumerate(names, 1)}
    order = data.draw(st.permutations(range(1, len(names) + 1)))
    named = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    written = [names[label - 1] if name else str(label) for label, name in zip(order, named, strict=True)]
    if around[0] in "[(" and any(named):
        around = "{}"  # a name may itself begin or end with a bracket
    text = around.format(between.join(written))
    if text in ("natural",) or text.startswith("random:"):
        return
    natural = tuple(labels.values())
    assert resolve_order(text, {}, natural, labels) == tuple(order)
    spelled = canonical_order(text, "folder", "overlapped", ())
    assert resolve_order(spelled, {}, natural, labels) == tuple(order)
    assert canonical_order(spelled, "folder", "overlapped", ()) == spelled


@often
@given(
    st.text(max_size=30)
    | st.lists(st.integers(-1, 6) | st.sampled_from(["car", "bus", "", "natural", "random:1"])).map(
        lambda items: ",".join(map(str, items))
    )
    | st.text("0123456789 ,;[]'\n-").map("random:{}".format)
)
def test_every_text_is_an_order_or_none(text: str) -> None:
    labels = {"car": 1, "bus": 2, "tree": 3}
    found = understood(lambda: resolve_order(text, {"A": (2, 1, 3)}, (1, 2, 3), labels))
    assert found is None or sorted(found) == [1, 2, 3]
    spelled = understood(lambda: canonical_order(text, "folder", "overlapped", ()))
    if found is not None and text != "A":
        assert spelled is not None and resolve_order(spelled, {}, (1, 2, 3), labels) == found


# Methods

METHODS = [*(name for name, info in available().items() if not info.part), "rcil+gsc", "mib+sg+pr", "ft+sc"]


def values(option: Option) -> st.SearchStrategy[Any]:
    """Values that an option takes."""
    if get_origin(option.kind) is Literal:
        return st.sampled_from(get_args(option.kind))
    if option.kind is bool:
        return st.booleans()
    low = option.within.least if option.within else -1e9
    high = min(option.within.most, 1e9) if option.within else 1e9
    numbers: st.SearchStrategy[Any] = (
        st.integers(int(low), int(high)) if option.kind is int else st.floats(low, high)
    )
    return numbers.filter(lambda number: option.within is None or number in option.within)


@often
@given(st.data(), st.sampled_from(METHODS), datasets)
def test_methods_come_back_from_their_description(data: st.DataObject, name: str, dataset: str) -> None:
    options = {
        each.name: each
        for each in method_info(name).options
        if each.kind in (bool, int, float) or get_origin(each.kind) is Literal
    }
    chosen = data.draw(st.lists(st.sampled_from(sorted(options)), unique=True)) if options else []
    meant = {key: data.draw(values(options[key])) for key in chosen}
    written = spec_of(name, {key: spell(value) for key, value in meant.items()})
    assert split_methods(f"ft,{written},joint") == ["ft", written, "joint"]
    experiment = Experiment(written, f"{dataset}_2-1")
    again = experiment_of(json.loads(json.dumps(experiment.describe())))
    assert again == experiment
    base, given = parse_method(again.method)
    resolved = resolved_options(method_info(base), dataset, given)
    assert {key: resolved[key] for key in meant} == meant
    assert resolved == resolved_options(method_info(base), dataset, parse_method(written)[1])


@often
@given(
    st.text(max_size=25)
    | st.builds(
        "{}{}{}{}".format, st.sampled_from(["gsc", "ft", "plop+sg", "rcil+", "+", ""]),
        st.sampled_from([":", ",", "::", "+", ""]), st.sampled_from(["lambda1=", "sg=", "=", "", "thresholds="]),
        st.floats() | st.integers() | st.text(max_size=5),
    ),
    datasets,
)  # fmt: skip
def test_every_text_is_a_method_or_none(text: str, dataset: str) -> None:
    for spec in split_methods(text):
        found = understood(lambda spec=spec: canonical_method(spec, dataset))
        assert found is None or canonical_method(found, dataset) == found


# Recipes and profiles

SETTINGS = [field.name for field in dataclasses.fields(Recipe)]
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.text("0123456789.eE+-", max_size=6)
    | st.sampled_from([date(2024, 2, 29), time(12, 30), datetime(2024, 2, 29, tzinfo=UTC)])
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@often
@given(datasets, st.dictionaries(st.sampled_from(SETTINGS) | st.text(max_size=9), anything, max_size=4))
def test_any_settings_are_a_recipe_or_none(dataset: str, given: dict[str, Any]) -> None:
    found = understood(lambda: make_recipe(dataset, given))
    if found is not None:
        described = dataclasses.asdict(found)
        assert Recipe(**described) == found
        written = {name: str(value) for name, value in described.items() if value is not None}
        assert make_recipe(dataset, written) == found
        assert all(described[name] is not None or name == "first_epochs" for name in described)


def toml(given: Mapping[str, Any]) -> str:
    """As a line of TOML for each value."""
    return "".join(f"{_quoted(key)} = {_toml(value)}\n" for key, value in given.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = [f"{_quoted(key)} = {_toml(each)}" for key, each in value.items() if each is not None]
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value if each is not None) + "]"
    if isinstance(value, date | time):
        return value.isoformat()
    return _quoted(value) if isinstance(value, str) else str(value).lower()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


PROFILE = [field.name for field in dataclasses.fields(Profile)]


@often
@given(st.dictionaries(st.sampled_from([*PROFILE, *SETTINGS]) | st.text(max_size=9), anything, max_size=4))
def test_any_values_of_a_file_are_settings_or_none(tmp_path: Path, given: dict[str, Any]) -> None:
    path = tmp_path / "values.toml"
    path.write_text(toml(given), encoding="utf-8")
    read = read_recipe_file(path)
    assert read.keys() == {key for key, value in given.items() if value is not None}
    understood(lambda: make_recipe("voc", read))
    profile = understood(lambda: make_profile(path, {}))
    if profile is not None:
        assert profile_of(json.loads(json.dumps(profile.describe()))) == profile


@often
@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda some: b"epochs = 2\n" + some))
def test_any_bytes_are_settings_or_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "values.toml"
    path.write_bytes(content)
    for read in (lambda: make_recipe("voc", read_recipe_file(path)), lambda: make_profile(path, {})):
        understood(read)


@pytest.mark.parametrize("number", ["0.1", "1e-3", "1e300", "5e-324"])
def test_numbers_keep_all_their_digits(number: str) -> None:
    assert make_recipe("voc", {"lr": number}).lr == float(number)
