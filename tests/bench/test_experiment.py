"""Experiments: defaults filled in, names checked, and what tells one run from another."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from issbench.bench.experiment import Experiment, experiment_of, parse_method, split_methods
from issbench.bench.recipe import make_recipe
from issbench.methods.interface.options import OptionError
from issbench.methods.interface.registry import UnknownMethod
from issbench.scenarios.errors import ScenarioError
from issbench.scenarios.protocol import PROTOCOLS


def test_defaults_are_those_of_the_dataset() -> None:
    experiment = Experiment("ft", "voc_15-1")
    assert experiment.dataset == "voc"
    assert (experiment.setting, experiment.order, experiment.seed) == ("overlapped", "natural", 0)
    assert experiment.protocol == PROTOCOLS["plop"]
    assert experiment.recipe == make_recipe("voc", {})
    experiment = Experiment("ft", "cityscapes_11-5")
    assert experiment.setting == "domain"
    assert experiment.protocol == PROTOCOLS["official"]
    assert experiment.recipe == make_recipe("cityscapes", {})


def test_names_and_overrides_are_resolved() -> None:
    experiment = Experiment("ft", "shapes_4-1", protocol="mib", recipe={"epochs": "3"}, classes=["disk", "ring"])
    assert experiment.protocol == PROTOCOLS["mib"]
    assert experiment.recipe == make_recipe("shapes", {"epochs": 3})
    assert experiment.classes == ("disk", "ring")


def test_options_of_the_method_are_sorted() -> None:
    experiment = Experiment("gsc:sg=off,lambda1=0.5", "shapes_4-1")
    assert experiment.method == "gsc:lambda1=0.5,sg=off"
    assert experiment.method_name == "gsc"
    assert experiment.method_options == {"lambda1": "0.5", "sg": "off"}
    assert experiment == Experiment("gsc:lambda1=0.5, sg=off", "shapes_4-1")


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("plob", "voc_15-1"), UnknownMethod, "did you mean plop"),
        (("plop", "vok_15-1"), ScenarioError, "did you mean voc_15-1"),
        (("plop", "voc_15"), ScenarioError, "BASE-INC"),
        (("plop:pod", "voc_15-1"), OptionError, "plop:option=value"),
    ],
)
def test_wrong_names(arguments: tuple[str, str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as info:
        Experiment(*arguments)
    assert info.value.exit_code == 2


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"setting": "overlaped"}, "did you mean overlapped"),
        ({"protocol": "plopp"}, "did you mean plop"),
        ({"recipe": {"epoch": 1}}, "unknown recipe setting"),
        ({"images": "2"}, "give a fraction above 0 and at most 1"),
        ({"setting": "partitioned:x"}, "the draw must be a whole number"),
    ],
)
def test_wrong_details(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as info:
        Experiment("ft", "voc_15-1", **wrong)
    assert info.value.exit_code == 2


def test_the_directory_of_the_data_and_more_metrics_are_no_other_experiment() -> None:
    experiment = Experiment("gsc:sg=off", "shapes_4-1", seed=3)
    moved = Experiment("gsc:sg=off", "shapes_4-1", seed=3, data="/elsewhere", metrics=["boundary-iou"])
    assert experiment.identity == moved.identity
    assert moved.data == "/elsewhere" and moved.metrics == ("boundary-iou",)


def test_a_fraction_of_the_images_is_another_experiment() -> None:
    whole, same, part = (Experiment("ft", "shapes_4-1", images=images) for images in ("1", 1.0, 0.3))
    assert whole == same == Experiment("ft", "shapes_4-1") and "images" not in whole.identity
    assert part.images == part.identity["images"] == "0.3" and part.label.endswith("images 0.3 seed 0")


def test_what_older_records_do_not_name_is_as_it_was() -> None:
    facts = Experiment("ft", "shapes_4-1").describe()
    old = {name: value for name, value in facts.items() if name not in ("images", "allow_leak")}
    assert experiment_of(old) == Experiment("ft", "shapes_4-1")


def test_a_described_experiment_comes_back() -> None:
    experiment = Experiment(
        "gsc:sg=off", "shapes_4-1", setting="partitioned:3", images="0.3:5", order="3,1,2",
        classes=("disk", "ring", "star"), seed=3, protocol="mib", recipe={"lr": 0.5}, metrics=["boundary-iou"],
    )  # fmt: skip
    facts = json.loads(json.dumps(experiment.describe()))
    assert experiment_of(facts) == experiment
    assert experiment_of(facts, "/elsewhere") == replace(experiment, data="/elsewhere")


def test_description_is_plain() -> None:
    description = Experiment("ft", "shapes_4-1", classes=("disk", "ring")).describe()
    assert json.loads(json.dumps(description)) == description
    assert description["dataset"] == "shapes"
    assert description["recipe"]["backbone"] == "tiny"
    assert description["protocol"]["name"] == "plop"


@pytest.mark.parametrize(
    "text, specs",
    [
        ("plop", ["plop"]),
        ("ft,mib , plop", ["ft", "mib", "plop"]),
        ("gsc:sg=off,lambda1=0.5,plop", ["gsc:sg=off,lambda1=0.5", "plop"]),
        ("plop,gsc:sg=off,gsc:sr=off,sc=off,ft", ["plop", "gsc:sg=off", "gsc:sr=off,sc=off", "ft"]),
        ("gsc,sg=off", ["gsc:sg=off"]),
        ("ft,,mib,", ["ft", "mib"]),
        ("", []),
    ],
)
def test_split_methods(text: str, specs: list[str]) -> None:
    assert split_methods(text) == specs


def test_parse_method() -> None:
    assert parse_method("gsc:lambda1 = 0.5,sg=off") == ("gsc", {"lambda1": "0.5", "sg": "off"})
    assert parse_method("ft") == ("ft", {})
