"""Steps and labels of scenarios for any classes, split, setting and protocol, against the rules in plain Python."""

from __future__ import annotations

from collections.abc import Sequence

from drawn import Drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from issbench.scenarios.protocol import PROTOCOLS, Protocol
from issbench.scenarios.scenario import Scenario
from issbench.scenarios.views import step_data

CLASSWISE = ["overlapped", "disjoint", "sequential"]
often = settings(max_examples=80, deadline=None, derandomize=True)


@st.composite
def learned(draw: st.DrawFn, most: int, all_of_them: bool = False) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """A number of classes, and some of them in steps, in any order."""
    count = draw(st.integers(2, most))
    order = draw(st.permutations(range(1, count + 1)))
    used = count if all_of_them else draw(st.integers(2, count))
    base, increment = draw(st.integers(1, used - 1)), draw(st.integers(1, used))
    later = [tuple(order[i : min(i + increment, used)]) for i in range(base, used, increment)]
    return count, (tuple(order[:base]), *later)


def images(count: int) -> st.SearchStrategy[list[list[int]]]:
    """Images by the labels that they hold."""
    return st.lists(st.lists(st.integers(0, count), min_size=1, max_size=4), max_size=12)


def expected_training(
    label: int, steps: Sequence[Sequence[int]], step: int, all_so_far: bool, protocol: Protocol
) -> int:
    """The channel of a training label: the classes of the step have theirs, the background all that is not
    labelled, be it old, yet to come, or never learned."""
    if label == 255:
        return 0 if protocol.void == "background" else 255
    order = [each for classes in steps for each in classes]
    given = [each for classes in (steps[: step + 1] if all_so_far else steps[step : step + 1]) for each in classes]
    return 1 + order.index(label) if label in given else 0


def expected_test(label: int, steps: Sequence[Sequence[int]], step: int, protocol: Protocol) -> int:
    """The channel of a test label: all classes so far have theirs, those to come are as the protocol says."""
    if label == 255:
        return 255
    order = [each for classes in steps for each in classes]
    if label in [each for classes in steps[: step + 1] for each in classes]:
        return 1 + order.index(label)
    return 255 if label in order and protocol.future == "ignore" else 0


@often
@given(st.data(), st.sampled_from([*PROTOCOLS.values()]), st.sampled_from(CLASSWISE), st.booleans())
def test_class_incremental_steps(data: st.DataObject, protocol: Protocol, setting: str, cumulative: bool) -> None:
    count, steps = data.draw(learned(most=30))
    train, test = data.draw(images(count)), data.draw(images(count))
    dataset = Drawn([f"class {label}" for label in range(1, count + 1)], train, test)
    scenario = Scenario("drawn", "drawn", setting, steps)  # type: ignore[arg-type]
    order = [each for classes in steps for each in classes]
    for step, classes in enumerate(steps):
        found = step_data(
            scenario, dataset, protocol, step, dataset.presence("train"), dataset.presence("test"), cumulative
        )
        for label in (*range(count + 1), 255):
            all_so_far = cumulative or setting == "sequential"
            assert found.train.table[label] == expected_training(label, steps, step, all_so_far, protocol)
            assert found.test.table[label] == expected_test(label, steps, step, protocol)
        assert found.classes_per_step == tuple(map(len, steps[: step + 1]))

        def belongs(labels: list[int], step: int) -> bool:
            future = {each for later in steps[step + 1 :] for each in later}
            return bool({*steps[step]} & {*labels}) and not (setting != "overlapped" and future & {*labels})

        several = range(step + 1) if cumulative else [step]
        assert found.train.ids == tuple(
            f"train{i}" for i, each in enumerate(train) if any(belongs(each, t) for t in several)
        )
        seen = {each for classes in steps[: step + 1] for each in classes}
        wanted = seen if protocol.test_images == "seen" else {*order}
        everything = protocol.test_images == "all" and len(order) == count
        assert found.test.ids == tuple(f"test{i}" for i, each in enumerate(test) if everything or wanted & {*each})


class Towns(Drawn):
    """Every fifth training image is of the same town."""

    domains = ("a", "b", "c", "d", "e")

    def domain(self, sample: str) -> str:
        return self.domains[int(sample.removeprefix("train")) % 5]


@often
@given(st.data(), st.sampled_from(["plop", "mib", "official"]), st.booleans(), st.booleans())
def test_domain_incremental_steps(data: st.DataObject, name: str, background: bool, cumulative: bool) -> None:
    """All classes are given at each step; without a background the first class is channel 0."""
    count, _ = data.draw(learned(most=30))
    _, steps = data.draw(learned(most=5))
    towns = tuple(tuple(each - 1 for each in step if each <= 5) for step in steps)
    dataset = Towns([f"class {label}" for label in range(1, count + 1)], data.draw(images(count)), [[1]])
    dataset.background = "background" if background else None
    scenario, protocol = Scenario("drawn", "drawn", "domain", towns), PROTOCOLS[name]
    for step in range(len(towns)):
        found = step_data(
            scenario, dataset, protocol, step, dataset.presence("train"), dataset.presence("test"), cumulative
        )
        for label in range(256):
            channel = label if background and label <= count else label - 1 if 1 <= label <= count else 255
            void = label == 255 and protocol.void == "background" and background
            assert found.test.table[label] == channel
            assert found.train.table[label] == (0 if void else channel)
        places = [place for t in (range(step + 1) if cumulative else [step]) for place in towns[t]]
        now = {dataset.domains[place] for place in places}
        assert found.train.ids == tuple(each for each in dataset.ids("train") if dataset.domain(each) in now)
        assert found.test.ids == dataset.ids("test")
