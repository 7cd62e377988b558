"""Shares of the training images: the same for all methods and seeds, nested, and with an image of each class."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import Drawn

from issbench.scenarios.draws import parse_share
from issbench.scenarios.errors import ScenarioError
from issbench.scenarios.protocol import PROTOCOLS
from issbench.scenarios.scenario import make_scenario
from issbench.scenarios.views import step_data

SETTINGS = ("overlapped", "disjoint", "sequential", "partitioned", "partitioned:1")


class Towns(Drawn):
    """Images of four classes and two towns."""

    domains = ("a", "b")

    def domain(self, sample: str) -> str:
        return "a" if int(sample.removeprefix("train")) % 3 else "b"


@pytest.fixture(scope="module")
def data() -> Towns:
    """400 images of up to three of the classes 1, 2 and 3, and one of class 4."""
    random = np.random.default_rng(0)
    return Towns("abcd", [random.choice(4, size=3).tolist() for _ in range(400)] + [[1, 2, 4]])


def taken(
    data: Drawn, images: str, setting: str = "overlapped", cumulative: bool = False, protocol: str = "plop"
) -> list[list[str]]:
    """The training images of each step."""
    name = "shapes_1-1" if setting == "domain" else "shapes_2-1"
    scenario = make_scenario(name, data, setting, images=images)
    parts = data.presence("train"), data.presence("test")
    steps = range(len(scenario.steps))
    found = (step_data(scenario, data, PROTOCOLS[protocol], t, *parts, cumulative) for t in steps)
    return [list(step.train.ids) for step in found]


@pytest.mark.parametrize("setting", [*SETTINGS, "domain"])
def test_a_share_is_nested_and_in_the_order_of_the_list(setting: str, data: Towns) -> None:
    shares = {images: taken(data, images, setting) for images in ("0.01", "0.3", "0.5", "1")}
    whole = shares["1"]
    assert whole == taken(data, "1.0", setting)
    for fraction, steps in shares.items():
        for used, every in zip(steps, whole, strict=True):
            assert used == [sample for sample in every if sample in {*used}]
            wanted = max(float(fraction) * len(every), 1)
            assert wanted - 0.5 <= len(used) <= wanted + 4.5  # one image more for each class at most
    for smaller, larger in (("0.01", "0.3"), ("0.3", "0.5"), ("0.5", "1")):
        for few, many in zip(shares[smaller], shares[larger], strict=True):
            assert {*few} <= {*many}


@pytest.mark.parametrize("setting", [*SETTINGS, "domain"])
def test_every_class_of_a_step_that_has_images_keeps_one(setting: str, data: Towns) -> None:
    labels = {sample: {*data.label(sample)[0].tolist()} for sample in data.ids("train")}
    new = [{1, 2, 3, 4}] * 2 if setting == "domain" else [{1, 2}, {3}, {4}]
    for used, every, classes in zip(taken(data, "0.001", setting), taken(data, "1", setting), new, strict=True):
        held, there = (set().union(*(labels[sample] for sample in ids)) & classes for ids in (used, every))
        assert held == there and len(used) <= len(classes)


@pytest.mark.parametrize("setting", [*SETTINGS, "domain"])
def test_joint_training_has_the_shares_of_all_steps_so_far(setting: str, data: Towns) -> None:
    steps, joint = taken(data, "0.3", setting), taken(data, "0.3", setting, cumulative=True)
    for t, used in enumerate(joint):
        assert {*used} == {sample for step in steps[: t + 1] for sample in step}
        assert used == sorted(used, key=data.ids("train").index)


def test_the_released_split_of_domains_is_shared_too(data: Towns) -> None:
    for cumulative in (False, True):
        few, all_of_them = (
            taken(data, images, "domain", cumulative, protocol="released") for images in ("0.3", "1")
        )
        for used, every in zip(few, all_of_them, strict=True):
            assert used == [sample for sample in every if sample in {*used}]
            assert len(used) == pytest.approx(0.3 * len(every), abs=4.5)


def test_a_share_depends_on_its_draw_and_on_ids_alone(data: Towns) -> None:
    one, same, other = (taken(data, images) for images in ("0.3", "0.3:0", "0.3:1"))
    assert one == same != other
    backwards = Towns("abcd", [])
    backwards._labels = dict(reversed(data._labels.items()))
    assert [{*step} for step in taken(backwards, "0.3")] == [{*step} for step in one]


def test_the_draw_never_changes() -> None:
    """What is drawn is a part of published results."""
    assert taken(Drawn("abcd", [[1, 2, 3, 4]] * 12), "0.25:7")[0] == ["train1", "train7", "train9"]


@pytest.mark.parametrize(
    "text, spelled",
    [
        ("1", "1"),
        ("1.0", "1"),
        ("1:7", "1"),
        ("0.30", "0.3"),
        (".3", "0.3"),
        ("3e-1:07", "0.3:7"),
        ("0.3:0", "0.3"),
    ],
)
def test_a_share_has_one_spelling(text: str, spelled: str) -> None:
    assert str(parse_share(text)) == spelled


@pytest.mark.parametrize("text", ["", "0", "-0.3", "1.5", "nan", "inf", "30%", "0,3", "all", "٣", ":3", "1e400"])
def test_what_is_no_fraction(text: str) -> None:
    with pytest.raises(ScenarioError, match="give a fraction above 0 and at most 1") as found:
        parse_share(text)
    assert found.value.exit_code == 2


@pytest.mark.parametrize("text", ["0.3:", "0.3:x", "0.3:-1", "0.3:1:2"])
def test_what_is_no_draw(text: str) -> None:
    with pytest.raises(ScenarioError, match="the draw must be a whole number"):
        parse_share(text)
