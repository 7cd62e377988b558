"""Reading run records: finding runs, refusing what cannot be read, and what a run knows of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_records import ENVIRONMENT, one_record, write_run

from issbench.files import read_sealed, write_json, write_sealed
from issbench.results.make_tables import measured_tables
from issbench.results.runs import RecordError, Run, load_run, load_runs

NAMES = (
    "voc_15-1-overlapped-ft-seed0-0aa1",
    "voc_15-1-overlapped-ft-seed1-0bb2",
    "voc_15-1-overlapped-mib-seed0-0ca1",
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name in reversed(NAMES):
        write_run(tmp_path, name, one_record("ft"))
    (tmp_path / "runs" / "begun").mkdir()  # a run without a finished step has no record yet
    return tmp_path


def test_all_runs_by_name(out: Path) -> None:
    runs = load_runs(out)
    assert [run.name for run in runs] == list(NAMES)
    assert runs[0].path == out / "runs" / NAMES[0]
    assert runs[0].record == json.loads(json.dumps(one_record("ft")))
    assert runs[0].complete and runs[0].last["step"] == 5 and not runs[0].imported
    assert (runs[0].scenario, runs[0].setting, runs[0].seed) == ("voc_15-1", "overlapped", 0)


def test_absent_classes_of_older_records_have_no_iou_and_nothing_to_forget(tmp_path: Path) -> None:
    """Earlier versions wrote 0 for a class that is predicted where no pixel is labelled so."""
    record = one_record("ft", scenario="shapes_2-2", forgetting=[30.0, 15.0, 0.0, 9.0, 9.0, 0.0, 0.0])
    for step in record["steps"]:
        assert step["counts"]
        step["counts"]["tp"][2] = step["counts"]["fn"][2] = 0
        step["metrics"]["iou"][2] = 0.0
    write_run(tmp_path, "old", record)
    (run,) = load_runs(tmp_path)
    assert [step["metrics"]["iou"][2] for step in run.steps] == [None] * 3
    assert run.forgotten[:3] == [30.0, 15.0, None]
    (table,) = measured_tables("forgetting", [run])
    assert table.rows[0][1] == "22.5"  # the mean over three classes would be 15.0
    assert table.rows[0][table.header.index("least")] == "9.0"


def test_what_was_only_just_learned_has_not_been_forgotten() -> None:
    record = one_record("ft", scenario="shapes_4-2", forgetting=[5.0] * 5 + [0.0] * 2)
    assert Run(Path("a"), record).forgotten == [5.0] * 5 + [None] * 2
    joint = one_record("joint", scenario="shapes_4-2", forgetting=[0.0] * 7)
    del joint["steps"][0]
    assert Run(Path("a"), joint).forgotten == [None] * 7  # learned in one step
    assert measured_tables("forgetting", [Run(Path("a"), joint)])[0].rows[0][1:] == ["–"] * 5
    assert Run(Path("a"), one_record("ft", complete=False)).forgotten == []


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
    write_run(out, NAMES[0] + "-more", one_record())
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
    with pytest.raises(RecordError, match=r"is not a run store .*pass --out DIR"):
        load_runs(tmp_path / "nowhere")
    (tmp_path / "runs").mkdir()
    assert load_runs(tmp_path) == []
    with pytest.raises(RecordError, match="it has none"):
        load_run(tmp_path, "x")


AGAIN = "remove the folder and make the run again"


@pytest.mark.parametrize(
    "content, words",
    [
        ('{"format": 99}', "has format 99, this version reads 3; update issbench"),
        ('{"format": 1, "experiment": {}}', f"has format 1, of issbench 0.1, whose keys .*; {AGAIN}"),
        ('{"format": 2, "experiment": {}}', f"has format 2, of issbench 0.1, whose keys .*; {AGAIN}"),
        ('{"format": 3}', f"checksum.*; {AGAIN}"),
        ('{"format": "3"}', f"checksum.*; {AGAIN}"),
        ("[1]", f"checksum.*; {AGAIN}"),
        ("{", f"checksum.*; {AGAIN}"),
        ("", f"checksum.*; {AGAIN}"),
    ],
)
def test_records_that_cannot_be_read(out: Path, content: str, words: str) -> None:
    path = out / "runs" / NAMES[1] / "run.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=f"{path}.*{words}") as info:
        load_runs(out)
    assert info.value.exit_code == 2


def test_a_changed_digit_is_noticed(out: Path) -> None:
    path = out / "runs" / NAMES[1] / "run.json"
    path.write_text(path.read_text().replace('"pixel_accuracy": 88.1', '"pixel_accuracy": 98.1', 1))
    with pytest.raises(RecordError, match=f"{path}.*checksum"):
        load_runs(out)


def test_the_record_of_another_run_is_noticed(out: Path) -> None:
    path = out / "runs" / NAMES[1] / "run.json"
    path.write_bytes((out / "runs" / NAMES[0] / "run.json").read_bytes())
    with pytest.raises(RecordError, match=f"{path} belongs to {NAMES[0]}.*; {AGAIN}"):
        load_runs(out)


def test_a_sealed_record_of_a_newer_format_is_refused(out: Path) -> None:
    write_sealed(out / "runs" / NAMES[0] / "run.json", {"format": 4}, NAMES[0])
    with pytest.raises(RecordError, match="has format 4, this version reads 3; update issbench"):
        load_run(out, NAMES[0])


def test_an_unfinished_run_says_how_far_it_is_and_why_it_failed(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a", one_record("ft", complete=False))
    assert run.unfinished == "unfinished, 5 of 6 steps done"
    outcome = tmp_path / "runs" / "a" / "outcome.json"
    write_json(outcome, {"state": "interrupted", "reason": "", "time": 0.0})
    assert run.unfinished == "unfinished, 5 of 6 steps done"
    write_json(outcome, {"state": "failed", "reason": "the loss became nan", "time": 0.0})
    assert run.unfinished == "unfinished, 5 of 6 steps done; it failed: the loss became nan"
    outcome.write_text("{")
    assert run.unfinished == "unfinished, 5 of 6 steps done"


@pytest.mark.parametrize(
    "changed, order",
    [
        ({}, "A"),
        ({"order": "A"}, "A"),
        ({"classes": ["cat"] * 20}, "natural"),
        ({"scenario": "ade_100-50"}, "natural"),
    ],
)
def test_the_natural_order_of_voc_is_the_papers_a(changed: dict[str, Any], order: str) -> None:
    assert Run(Path("runs/a"), one_record(**changed)).order == order


def test_methods_are_named_with_the_options_that_differ_from_the_defaults() -> None:
    run = Run(Path("runs/a"), one_record("gsc:lambda1=0.5,sg=off"))
    assert run.label == "GSC (lambda1=0.5,sg=off)" and run.spec == "gsc:lambda1=0.5,sg=off"
    assert run.changed_options == {"lambda1": "0.5", "sg": "off"}
    assert run.method["options"]["lambda2"] == 0.1
    assert Run(Path("runs/a"), one_record("rcil+gsc")).label == "RCIL+GSC"


def test_brief_records_are_whole_but_for_what_is_long(out: Path) -> None:
    for whole, brief in zip(load_runs(out), load_runs(out, brief=True), strict=True):
        assert {**brief.record, "steps": None} == {**whole.record, "steps": None}
        assert brief.last["metrics"]["groups"] == whole.last["metrics"]["groups"]
        assert brief.last["recipe"] == whole.last["recipe"]
        assert "iou" not in brief.last["metrics"] and "counts" not in brief.last
        assert brief.environments == whole.environments == [ENVIRONMENT] * 6


def test_records_keep_their_seal_to_themselves(out: Path) -> None:
    path = out / "runs" / NAMES[0] / "run.json"
    assert path.read_text().rstrip().endswith('"\n}') and '"sha256"' in path.read_text()
    assert read_sealed(path, NAMES[0]) == load_run(out, NAMES[0]).record


def test_results_start_without_torch_or_pandas() -> None:
    code = (
        "import sys; from issbench.results import runs, make_tables, show, frame; "
        "from issbench.results.render import latex; "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "assert not loaded & {'torch', 'pandas', 'scipy', 'matplotlib'}, loaded; "
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('issbench.')}; "
        "assert not rooms & {'bench', 'methods', 'scenarios', 'slurm'}, rooms"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
