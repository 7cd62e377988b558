"""Job arrays: every run once, after its first step, in few arrays, and never more jobs at once than allowed."""

import random
from math import isqrt

import pytest

from issbench.slurm.layout import After, Array, Need, lay_out


def needs(*sizes: int, alone: int = 0) -> list[Need]:
    """For each size as many runs that share a missing first step; then runs that need none. Shuffled, as in a sweep
    whose methods are its innermost dimension."""
    keys = [f"step{number}" for number, size in enumerate(sizes) for _ in range(size)] + [None] * alone
    random.Random(1).shuffle(keys)
    return [Need(run, key) for run, key in enumerate(keys)]


def key_of(asked: list[Need], array: Array, index: int) -> str | None:
    return asked[array.runs[index]].first


def check(asked: list[Need], arrays: list[Array], max_size: int = 1001) -> None:
    """Each run is one job, each shared first step too, and a run waits for just its own first step."""
    runs = [run for array in arrays if not array.firsts for run in array.runs]
    assert sorted(runs) == [need.run for need in asked]
    counts = [[need.first for need in asked].count(key) for key in {need.first for need in asked} - {None}]
    firsts = [key_of(asked, array, index) for array in arrays if array.firsts for index in range(len(array.runs))]
    assert len(firsts) == len(set(firsts)) == sum(count > 1 for count in counts)
    for position, array in enumerate(arrays):
        assert 1 <= len(array.runs) <= max_size
        for index in range(len(array.runs)):
            waited = []
            for after in (each for each in array.after if each.how != "afterany"):
                assert after.on < position and arrays[after.on].firsts
                waited.append(key_of(asked, arrays[after.on], index if after.how == "aftercorr" else after.index))
            key = key_of(asked, array, index)
            assert waited == ([key] if not array.firsts and key in firsts else [])


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        (needs(3, 3), 3),  # an array for each first step, or a wave for each run: the fewer
        (needs(*[2] * 30), 3),
        (needs(40, *[2] * 30), 4),  # one of many runs must not make forty waves
        (needs(alone=5), 1),
        (needs(1, 1, 1, alone=2), 1),  # a first step that one run needs is trained in the run
        (needs(2, 1), 3),
        (needs(*[11] * 180), 12),
        ([], 0),
    ],
)
def test_few_arrays_hold_every_run_after_its_first_step(asked, number):
    arrays = lay_out(asked, 1001)
    check(asked, arrays)
    assert len(arrays) == number


@pytest.mark.parametrize("seed", range(20))
def test_any_sweep(seed):
    chance = random.Random(seed)
    asked = needs(*(chance.randint(1, 40) for _ in range(chance.randint(1, 60))), alone=chance.randint(0, 30))
    check(asked, lay_out(asked, 1001))
    assert len(lay_out(asked, 1001)) <= 2 + 2 * isqrt(len(asked))
    check(asked, lay_out(asked, 7), 7)


def test_a_wave_of_one_run_names_its_first_step():
    arrays = lay_out(needs(3, 2, 2, 2, 2, 2, 2), 1001)
    assert [(len(array.runs), array.after) for array in arrays[1:]] == [
        (7, (After("aftercorr", 0),)),
        (7, (After("aftercorr", 0),)),
        (1, (After("afterok", 0, 0),)),
    ]


def test_runs_whose_first_step_is_queued_wait_for_those_jobs():
    asked = [Need(0, "a", "7_1"), Need(1, "b", "7_2"), Need(2, None)]
    assert lay_out(asked, 1001) == [
        Array(False, (2,)),
        Array(False, (0, 1), (After("afterany", "7_1"), After("afterany", "7_2"))),
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("asked", [needs(3, 3), needs(*[4] * 20, alone=9), needs(alone=4), needs(30, 2, 2)])
def test_never_more_jobs_at_once_than_allowed(asked, limit):
    arrays = lay_out(asked, 5, limit)
    check(asked, arrays, 5)
    assert most_at_once(arrays) <= limit


def most_at_once(arrays: list[Array]) -> int:
    """Play the queue: whatever may run starts at once, and running jobs end in any order. The most that ran."""
    chance = random.Random(2)
    waiting = {(position, index) for position, array in enumerate(arrays) for index in range(len(array.runs))}
    running: set[tuple[int, int]] = set()
    ended: set[tuple[int, int]] = set()
    most = 0

    def may_start(position: int, index: int) -> bool:
        for after in arrays[position].after:
            whole = {(after.on, number) for number in range(len(arrays[after.on].runs))}
            one = {(after.on, index if after.how == "aftercorr" else after.index)}
            if not (whole if after.how == "afterany" else one) <= ended:
                return False
        return sum(place == position for place, _ in running) < arrays[position].at_once

    while waiting or running:
        for job in sorted(waiting):
            if may_start(*job):
                running.add(job)
        waiting -= running
        assert running, "nothing can start"
        most = max(most, len(running))
        done = chance.choice(sorted(running))
        running.remove(done)
        ended.add(done)
    return most
