"""Exemplars: which images are kept, with which labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from issbench.bench.data import Data, open_data
from issbench.bench.experiment import Experiment
from issbench.scenarios.presence import Presence
from issbench.scenarios.protocol import get_protocol
from issbench.scenarios.scenario import Scenario, make_scenario

PROTOCOL = get_protocol(None, "overlapped")


@pytest.fixture(scope="module")
def data() -> Data:
    return open_data(Experiment("ft", "shapes_4-1"))


def scenario(data: Data, setting: str = "overlapped", order: str = "natural") -> Scenario:
    return make_scenario("shapes_4-1", data.dataset, setting, order)


@pytest.mark.parametrize("setting", ["overlapped", "disjoint", "sequential", "partitioned"])
def test_exemplars_come_from_earlier_steps_and_show_labelled_pixels_there(data: Data, setting: str) -> None:
    split = scenario(data, setting)
    for index in range(1, 5):
        kept = data.memory(split, PROTOCOL, index, 20, True, range(index))
        assert len(kept.ids) == len(set(kept.ids)) == 20
        for row, (sample, step) in enumerate(zip(kept.ids, kept.steps, strict=True)):
            assert step < index
            assert sample in data.view(split, PROTOCOL, step).data.train.ids
            channels = set(np.unique(kept.table(row)[data.dataset.label(sample)]))
            new = range(1 + sum(map(len, split.steps[:step])), 1 + sum(map(len, split.steps[: step + 1])))
            assert channels & {*range(1, new.stop)}
            if setting != "sequential":  # there old classes are labelled, too
                assert channels <= {0, 255, *new}


def test_the_classes_are_balanced(data: Data) -> None:
    split = scenario(data)
    kept = data.memory(split, PROTOCOL, 4, 28, True, range(4))
    shown: Counter[int] = Counter()
    for row, sample in enumerate(kept.ids):
        shown.update({*np.unique(kept.table(row)[data.dataset.label(sample)])} - {0, 255})
    assert sorted(shown) == [*range(1, 8)] and min(shown.values()) >= 4


def test_all_labels_are_those_of_all_classes_up_to_now(data: Data) -> None:
    split = scenario(data)
    own = data.memory(split, PROTOCOL, 2, 20, True, range(2))
    leaky = data.memory(split, PROTOCOL, 2, 20, False, range(2))
    assert (own.ids, own.steps) == (leaky.ids, leaky.steps)
    known = [split.learned.index(label) + 1 if label in split.learned[:6] else 0 for label in range(1, 9)]
    assert all(leaky.table(row)[1:9].tolist() == known for row in range(20))


def test_it_ends_where_there_are_no_more_images_or_no_image_of_a_class(data: Data) -> None:
    split = scenario(data)
    first = data.view(split, PROTOCOL, 0).data.train.ids
    kept = data.memory(split, PROTOCOL, 1, 10**6, True, [0])
    labelled = [i for i in first if {*np.unique(data.dataset.label(i))} & {*split.steps[0]}]
    assert sorted(kept.ids) == sorted(labelled)
    alone = make_scenario("shapes_2-1", data.dataset, "overlapped", classes=data.dataset.classes[:3])
    empty = Data(data.dataset, without(data, alone.steps[0][0]), data.test)
    assert empty.memory(alone, PROTOCOL, 1, 10, True, [0]).ids


def without(data: Data, label: int) -> Presence:
    """The class presence as if no image showed anything of a class."""
    table = data.train.table.copy()
    table[:, label] = False
    return replace(data.train, table=table)


def test_the_choice_is_drawn_from_the_seed_alone(data: Data) -> None:
    split = scenario(data)
    same = [data.memory(split, PROTOCOL, 3, 20, True, range(3)).ids for _ in range(2)]
    assert same[0] == same[1] != data.memory(split, PROTOCOL, 3, 20, True, range(3, 6)).ids
