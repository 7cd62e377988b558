"""Reading run records: finding runs, refusing what cannot be read, and what makes runs comparable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from issbench.bench.engine.record import FORMAT
from issbench.results.runs import KNOWN_FORMATS, RecordError, load_run, load_runs

EXPERIMENT = {
    "method": "ft",
    "scenario": "voc_15-1",
    "setting": "overlapped",
    "order": "natural",
    "classes": [],
    "seed": 0,
    "protocol": {"name": "plop", "void": "ignore"},
    "recipe": {"epochs": 30, "lr": 0.001},
    "data": None,
    "dataset": "voc",
}


def write(out: Path, name: str, **changed: Any) -> Path:
    """A record of a finished run; `changed` are entries of its experiment."""
    folder = out / "runs" / name
    folder.mkdir(parents=True)
    record = {
        "format": 1,
        "experiment": EXPERIMENT | changed,
        "complete": True,
        "steps": [{"step": 0}, {"step": 1, "recipe": {"precision": "fp32"}}],
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


NAMES = (
    "voc_15-1-overlapped-ft-seed0-0aa1",
    "voc_15-1-overlapped-ft-seed1-0bb2",
    "voc_15-1-overlapped-mib-seed0-0ca1",
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name in reversed(NAMES):
        write(tmp_path, name)
    (tmp_path / "runs" / "begun").mkdir()  # a run without a finished step has no record yet
    return tmp_path


def test_this_version_reads_its_own_records() -> None:
    assert KNOWN_FORMATS[-1] == FORMAT  # what it writes is what older records are migrated to


def test_all_runs_by_name(out: Path) -> None:
    runs = load_runs(out)
    assert [run.name for run in runs] == list(NAMES)
    assert runs[0].experiment == EXPERIMENT
    assert runs[0].complete and runs[0].last == {"step": 1, "recipe": {"precision": "fp32"}, "evaluation": None}
    assert runs[0].path == out / "runs" / NAMES[0]


@pytest.mark.parametrize(
    "asked, found",
    [
        (NAMES[0], 0),
        ("0aa1", 0),  # the hash
        ("bb2", 1),
        ("voc_15-1-overlapped-mib", 2),  # the beginning
        ("voc_15-1-overlapped-ft-seed1", 1),
    ],
)
def test_one_run_by_a_part_of_its_name(out: Path, asked: str, found: int) -> None:
    assert load_run(out, asked).name == NAMES[found]


def test_a_full_name_is_not_ambiguous(out: Path) -> None:
    write(out, NAMES[0] + "-more")
    assert load_run(out, NAMES[0]).name == NAMES[0]


@pytest.mark.parametrize("asked, count", [("voc_15-1-overlapped-ft", 2), ("a1", 2), ("voc", 3)])
def test_an_ambiguous_name(out: Path, asked: str, count: int) -> None:
    with pytest.raises(RecordError, match=f"'{asked}' fits {count} runs: .*seed0.*; give more of the name") as info:
        load_run(out, asked)
    assert info.value.exit_code == 2


def test_a_run_that_is_not_there(out: Path) -> None:
    with pytest.raises(RecordError, match=f"no run 'plop' in .*; it has {NAMES[0]}") as info:
        load_run(out, "plop")
    assert info.value.exit_code == 2


def test_no_store_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is no run store .*pass --out DIR"):
        load_runs(tmp_path / "nowhere")
    (tmp_path / "runs").mkdir()
    assert load_runs(tmp_path) == []
    with pytest.raises(RecordError, match="it has none"):
        load_run(tmp_path, "x")


@pytest.mark.parametrize(
    "content",
    [
        '{"format": 99}',
        '{"experiment": {}}',
        '{"format": "2"}',
        '{"format": true}',
        "[1]",
        "{",
        "",
        '{"format": 2, "experiment": {}, "complete": true, "steps": []}',
        '{"format": 1, "experiment": {}}',
    ],
)
def test_records_that_cannot_be_read(out: Path, content: str) -> None:
    path = out / "runs" / NAMES[1] / "run.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=str(path)) as info:
        load_runs(out)
    assert info.value.exit_code == 2
    if "99" in content:
        assert "has format 99, newer than this version reads (1, 2); update issbench" in str(info.value)


@pytest.mark.parametrize(
    "changed, comparable",
    [
        ({"method": "gsc:sg=off"}, True),
        ({"seed": 7}, True),
        ({"data": "/elsewhere"}, True),
        ({"protocol": {"name": "mib", "void": "background"}}, False),
        ({"recipe": {"epochs": 30, "lr": 0.01}}, False),
        ({"setting": "disjoint"}, False),
        ({"order": "B"}, False),
        ({"classes": ["cat", "dog"]}, False),
        ({"scenario": "voc_15-5"}, False),
    ],
)
def test_comparable_runs_differ_in_method_and_seed_alone(
    tmp_path: Path, changed: dict[str, Any], comparable: bool
) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", **changed)
    one, other = load_runs(tmp_path)
    assert (one.comparable == other.comparable) == comparable


def test_comparable_but_for_what_a_table_tells_apart(tmp_path: Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", order="B", setting="disjoint", method="plop")
    one, other = load_runs(tmp_path)
    assert one.comparable_but("order", "setting") == other.comparable_but("order", "setting")
    assert one.comparable_but("order") != other.comparable_but("order")


def test_the_natural_order_of_voc_is_the_papers_a(tmp_path: Path) -> None:
    for name, changed in (
        ("a", {}),
        ("b", {"order": "A"}),
        ("c", {"classes": ["cat"]}),
        ("d", {"scenario": "ade_100-50"}),
    ):
        write(tmp_path, name, **changed)
    runs = load_runs(tmp_path)
    assert [run.order for run in runs] == ["A", "A", "natural", "natural"]
    assert runs[0].comparable == runs[1].comparable


def test_brief_records_are_whole_but_for_the_steps(out: Path) -> None:
    for whole, brief in zip(load_runs(out), load_runs(out, brief=True), strict=True):
        assert brief.record | {"steps": None} == whole.record | {"steps": None}
        assert brief.last == {"step": 1, "recipe": {"precision": "fp32"}}


def test_results_start_without_torch() -> None:
    code = (
        "import sys, results.records, results.tables, results.show, results.render.latex; "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "assert not loaded & {'torch', 'numpy', 'bench', 'methods', 'scenarios'}, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
