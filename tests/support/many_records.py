"""Makes a run store of many finished runs: `python tests/support/many_records.py DIR COUNT`."""

from __future__ import annotations

import sys
from pathlib import Path

from made_records import one_record, write_run

from issbench.results.record import Record

METHODS = ("ft", "ewc", "lwf", "lwf-mc", "ilt", "mib", "sdr", "plop", "rcil", "gsc", "rcil+gsc", "gsc:sg=off")
SCENARIOS = ("voc_19-1", "voc_15-5", "voc_10-10", "voc_15-1", "voc_10-1")
SETTINGS = ("disjoint", "overlapped")
ORDERS = ("natural", "B", "C", "D", "E")


def numbered_record(number: int) -> Record:
    """The record of run `number`, as large as a real one: each is of another method, scenario, setting, order or
    seed."""
    rest, method = divmod(number, len(METHODS))
    rest, scenario = divmod(rest, len(SCENARIOS))
    rest, setting = divmod(rest, len(SETTINGS))
    seed, order = divmod(rest, len(ORDERS))
    return one_record(METHODS[method], SCENARIOS[scenario], SETTINGS[setting], seed, order=ORDERS[order], epochs=30)


def make_store(out: Path, count: int) -> int:
    """A store of `count` finished runs; returns the bytes of all records."""
    runs = [write_run(out, f"run-{number:06}", numbered_record(number)) for number in range(count)]
    return sum((run.path / "run.json").stat().st_size for run in runs)


if __name__ == "__main__":
    print(f"{make_store(Path(sys.argv[1]), int(sys.argv[2])) / 1e6:.1f} MB")
