"""The setting partitioned: a draw gives each image to one of its classes, and so to one step."""

from __future__ import annotations

import numpy as np
from drawn import Drawn

from issbench.scenarios.protocol import PROTOCOLS
from issbench.scenarios.scenario import make_scenario
from issbench.scenarios.views import View, given_to, step_data


def many_images(count: int = 400) -> Drawn:
    """Images of up to three of four classes, some of none."""
    random = np.random.default_rng(0)
    return Drawn("abcd", [random.choice(5, size=3).tolist() for _ in range(count)])


def steps(data: Drawn, setting: str, *how: object, cumulative: bool = False) -> list[View]:
    """What each step trains on; `how`: an order and classes."""
    scenario = make_scenario("shapes_2-1", data, setting, *how)  # type: ignore[arg-type]
    train, test = data.presence("train"), data.presence("test")
    return [
        step_data(scenario, data, PROTOCOLS["plop"], t, train, test, cumulative).train
        for t in range(len(scenario.steps))
    ]


def taken(data: Drawn, setting: str, *how: object) -> list[set[str]]:
    """The training images of each step."""
    return [{*view.ids} for view in steps(data, setting, *how)]


def test_partitioned_steps_share_no_image_and_leave_none_out() -> None:
    data = many_images()
    found = taken(data, "partitioned")
    holding = {sample for sample in data.ids("train") if data.label(sample).any()}
    assert sum(map(len, found)) == len(set.union(*found)) and set.union(*found) == holding
    for part, overlapped in zip(found, taken(data, "overlapped"), strict=True):
        assert part < overlapped
    joint = steps(data, "partitioned", cumulative=True)
    assert [{*view.ids} for view in joint] == [found[0], found[0] | found[1], holding]
    assert [view.table[1:5].tolist() for view in joint] == [[1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4]]


def test_the_class_of_an_image_is_drawn_evenly() -> None:
    data = Drawn("abcd", [[0, 2, 4]] * 1000 + [[1, 2, 3]] * 900)
    given = given_to(make_scenario("shapes_2-1", data, "partitioned"), data.presence("train"))
    counts = np.stack([np.bincount(part, minlength=5) for part in (given[:1000], given[1000:])])
    assert (counts > 0).tolist() == [[False, False, True, False, True], [False, True, True, True, False]]
    assert np.abs(counts[0, [2, 4]] - 500).max() < 80 and np.abs(counts[1, 1:4] - 300).max() < 80


def test_the_draw_depends_on_its_number_and_on_ids_alone() -> None:
    data = many_images()
    found = taken(data, "partitioned")
    assert found == taken(data, "partitioned:0") == taken(data, "partitioned:00") != taken(data, "partitioned:1")
    backwards = Drawn("abcd", [])
    backwards._labels = dict(reversed(data._labels.items()))
    assert taken(backwards, "partitioned") == found
    first, second, third = found  # which class an image is given to does not depend on the order of the classes
    assert taken(data, "partitioned", "2,1,4,3") == [first, third, second]


def test_an_image_is_given_to_a_class_of_the_scenario() -> None:
    data = many_images()
    found = taken(data, "partitioned", "natural", ("d", "a", "b"))
    assert set.union(*found) == {s for s in data.ids("train") if {1, 2, 4} & {*data.label(s)[0].tolist()}}


def test_the_draw_never_changes() -> None:
    """What is drawn is a part of published results."""
    data = Drawn("abcd", [[1, 2, 3, 4]] * 12)
    given = given_to(make_scenario("shapes_2-1", data, "partitioned:7"), data.presence("train"))
    assert given.tolist() == [1, 1, 4, 1, 4, 3, 4, 4, 1, 4, 3, 4]
