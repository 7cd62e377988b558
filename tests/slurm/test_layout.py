"""Job arrays: every run once, after its first step, in few arrays, and never more jobs at once than allowed."""

import random

import pytest

from issbench.slurm.layout import Array, Need, lay_out


def needs(*sizes: int, alone: int = 0) -> list[Need]:
    """For each size as many runs that share a missing first step; then runs that need none. Shuffled, as in a sweep
    whose methods are its innermost dimension."""
    keys = [f"step{number}" for number, size in enumerate(sizes) for _ in range(size)] + [None] * alone
    random.Random(1).shuffle(keys)
    return [Need(run, key) for run, key in enumerate(keys)]


SWEEPS = [needs(3, 3), needs(*[4] * 20, alone=9), needs(alone=4), needs(30, 2, 2), needs(1, 1, 2), []]


@pytest.mark.parametrize("limit", [None, 1, 2, 7, 50])
@pytest.mark.parametrize("size", [5, 1001])
@pytest.mark.parametrize("asked", SWEEPS)
def test_each_run_is_one_job_after_its_first_step(asked, size, limit):
    arrays = lay_out(asked, size, limit)
    runs = [run for array in arrays if not array.firsts for run in array.runs]
    assert sorted(runs) == [need.run for need in asked]
    keys = [need.first for need in asked]
    shared = {key for key in keys if key is not None and keys.count(key) > 1}
    firsts = {position: [keys[run] for run in array.runs] for position, array in enumerate(arrays) if array.firsts}
    assert sorted(key for found in firsts.values() for key in found) == sorted(shared)  # each of them once
    for position, array in enumerate(arrays):
        assert 1 <= len(array.runs) <= size
        assert all(before < position for before in array.after)
        waited_for = {key for before in before_all(arrays, position) for key in firsts.get(before, ())}
        assert array.firsts or {keys[run] for run in array.runs} & shared <= waited_for


def before_all(arrays: list[Array], position: int) -> set[int]:
    """All arrays that have ended when an array begins."""
    found = set(arrays[position].after)
    return found.union(*(before_all(arrays, before) for before in found))


@pytest.mark.parametrize(("asked", "number"), [(needs(3, 3), 2), (needs(3, alone=2), 3), (needs(1, alone=2), 1)])
def test_there_are_at_most_three_arrays_where_none_is_too_long(asked, number):
    assert len(lay_out(asked, 1001)) == number


def test_what_needs_no_other_job_does_not_wait():
    arrays = lay_out([Need(0, "a"), Need(1, "a"), Need(2, None), Need(3, "b")], 1001)
    assert arrays == [Array(True, (0,)), Array(False, (2, 3)), Array(False, (0, 1), (0,))]


def test_runs_whose_first_step_is_queued_wait_for_those_jobs():
    asked = [Need(0, "a", "7_1"), Need(1, "b", "7_2"), Need(2, None)]
    assert lay_out(asked, 1001) == [Array(False, (2,)), Array(False, (0, 1), ("7_1", "7_2"))]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("asked", SWEEPS)
def test_never_more_jobs_at_once_than_allowed(asked, limit):
    assert most_at_once(lay_out(asked, 5, limit)) <= limit


def most_at_once(arrays: list[Array]) -> int:
    """Play the queue: whatever may run starts at once, and running jobs end in any order. The most that ran."""
    chance = random.Random(2)
    waiting = {(position, index) for position, array in enumerate(arrays) for index in range(len(array.runs))}
    running: set[tuple[int, int]] = set()
    most = 0

    def may_start(position: int) -> bool:
        busy = [place for place, _ in waiting | running]
        return (
            not any(before in busy for before in arrays[position].after)
            and sum(place == position for place, _ in running) < arrays[position].at_once
        )

    while waiting or running:
        for job in sorted(waiting):
            if may_start(job[0]):
                running.add(job)
                waiting.remove(job)
        assert running, "nothing can start"
        most = max(most, len(running))
        running.remove(chance.choice(sorted(running)))
    return most
