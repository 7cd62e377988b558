"""The tidy frames: a row per run, step and group or class, with the numbers of the records."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_records import one_record, write_run

from issbench.errors import UsageError
from issbench.results.frame import load_results, tidy
from issbench.results.runs import load_runs


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_run(tmp_path, "a", one_record("gsc:sg=off", "voc_15-5", seed=3))
    write_run(tmp_path, "b", one_record("ft", complete=False))
    write_run(tmp_path, "c", one_record("rcil", "voc_15-5", imported=True))
    return tmp_path


def test_a_row_per_run_step_and_group(out: Path) -> None:
    results = load_results(out)
    frame = results.frame()
    assert [run.name for run in results.runs] == ["a", "b", "c"]
    assert frame["run"].value_counts().to_dict() == {"a": 2 * 5, "b": 5 * 5, "c": 2 * 5}
    last = frame[(frame["run"] == "a") & frame["last_step"]].set_index("group")
    metrics = results.runs[0].last["metrics"]
    assert last["miou"].to_dict() == metrics["groups"] | metrics["miou"]
    assert set(last["step"]) == {1} and set(last["hiou"]) == {metrics["hiou"]}
    (facts,) = (
        last[["method", "title", "dataset", "scenario", "setting", "order", "seed", "imported", "complete"]]
        .drop_duplicates()
        .to_numpy()
        .tolist()
    )
    assert facts == ["gsc:sg=off", "GSC", "voc", "voc_15-5", "overlapped", "A", 3, False, True]


def test_what_is_unknown_is_missing(out: Path) -> None:
    frame = load_results(out).frame()
    first = frame[(frame["step"] == 0) & (frame["group"] == "new")]
    assert first["miou"].isna().all() and first["hiou"].isna().all()
    unfinished = frame[frame["run"] == "b"]
    assert unfinished["mean_over_steps"].isna().all() and not unfinished["last_step"].any()
    assert frame[frame["run"] == "c"]["data"].isna().all()


def test_a_row_per_run_step_and_class(out: Path) -> None:
    frame = load_results(out).frame("classes")
    of_a = frame[frame["run"] == "a"]
    assert of_a.groupby("step").size().to_dict() == {0: 16, 1: 21}
    last = of_a[of_a["last_step"]]
    early = last["channel"] <= 15
    assert last.loc[early, "forgetting"].tolist() == [float(c) for c in range(16)]
    assert last.loc[~early, "forgetting"].isna().all()  # of the last step
    assert of_a[~of_a["last_step"]]["forgetting"].isna().all()
    assert last["iou"].tolist() == pytest.approx([50 + c + 1 / 3 for c in range(21)])
    assert last["class"].tolist()[:2] == ["background", "class 1"]


def test_groups_need_only_brief_records(out: Path) -> None:
    assert tidy(load_runs(out, brief=True)).equals(load_results(out).frame())


def test_a_store_without_runs_has_an_empty_frame(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    results = load_results(str(tmp_path))
    assert results.frame().empty and list(results.frame("classes").columns)[-2:] == ["iou", "forgetting"]


def test_an_unknown_view(out: Path) -> None:
    with pytest.raises(UsageError, match="there are groups, classes"):
        load_results(out).frame("steps")  # type: ignore[arg-type]
