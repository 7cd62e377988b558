"""Which runs may stand together, and what is said of those that do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_records import ENVIRONMENT, RECIPE, one_record

from issbench.results.comparable import comparable_sets, not_made_alike, told_apart
from issbench.results.runs import Run

COPY = "77b1" + "0" * 28
"""The identity of other data."""


def run(method: str = "gsc", name: str = "", **changed: Any) -> Run:
    return Run(Path("runs") / (name or method), one_record(method, **changed))


def names(sets: list[list[Run]]) -> list[list[str]]:
    return [[run.name for run in members] for members in sets]


@pytest.mark.parametrize(
    "changed, together",
    [
        ({"method": "gsc:sg=off"}, True),
        ({"seed": 7}, True),
        ({"order": "A"}, True),  # what VOC's natural order is called
        ({"protocol": "mib"}, False),
        ({"recipe": {"lr": 0.01}}, False),
        ({"recipe": {"precision": "bf16"}}, False),
        ({"data": COPY}, False),
        ({"setting": "disjoint"}, False),
        ({"setting": "partitioned"}, False),
        ({"images": "1"}, True),  # what older records do not name
        ({"images": "0.3"}, False),
        ({"order": "B"}, False),
        ({"classes": [f"class {c}" for c in range(20)]}, False),
        ({"scenario": "voc_15-5"}, False),
    ],
)
def test_runs_together_differ_in_method_and_seed_alone(changed: dict[str, Any], together: bool) -> None:
    other = run(**{"method": "plop", "name": "other", **changed})
    assert names(comparable_sets([run(), other])) == ([["gsc", "other"]] if together else [["gsc"], ["other"]])


def test_where_the_dataset_was_and_which_metrics_were_asked_for_does_not_matter() -> None:
    one, other = run(), run("plop")
    other.record["experiment"] |= {"data": "/elsewhere", "metrics": ["boundary-iou"]}
    assert len(comparable_sets([one, other])) == 1


def test_what_a_table_tells_apart_may_differ() -> None:
    runs = [run(), run("plop", order="B", setting="disjoint")]
    assert len(comparable_sets(runs, "order", "setting")) == 1
    assert len(comparable_sets(runs, "order")) == 2


def test_precision_counts_as_it_was_used() -> None:
    auto, other = run(), run("plop")
    assert other.last["recipe"] is not None
    other.last["recipe"]["precision"] = "bf16"  # what `auto` became on another machine
    assert len(comparable_sets([auto, other])) == 2


def test_an_imported_run_stands_beside_each_recipe_and_all_data() -> None:
    runs = [run("rcil", imported=True), run(), run("plop", recipe={"lr": 0.2}), run("mib", data=COPY)]
    assert names(comparable_sets(runs)) == [["rcil", "gsc"], ["rcil", "mib"], ["rcil", "plop"]]
    assert names(comparable_sets(runs[:1])) == [["rcil"]]
    assert len(comparable_sets([runs[0], run(protocol="mib")])) == 2


def test_scenarios_stand_together_if_they_are_of_one_dataset() -> None:
    """Each scenario reads its own images, or the same ones in other steps."""
    one = [run(dataset_content="a"), run("plop", scenario="voc_10-1", data=COPY, dataset_content="a")]
    assert names(comparable_sets(one, "scenario")) == [["gsc", "plop"]]
    two = [run(dataset_content="a"), run("plop", scenario="voc_10-1", data=COPY, dataset_content="b")]
    assert names(comparable_sets(two, "scenario")) == [["gsc"], ["plop"]]
    other = run("mib", data=COPY, dataset_content="b")
    assert names(comparable_sets([*one, other], "scenario")) == [["gsc", "plop"], ["mib"]]


def test_images_that_no_step_reads_may_differ() -> None:
    before, after = run(dataset_content="a"), run("plop", dataset_content="b")
    assert names(comparable_sets([before, after])) == [["gsc", "plop"]]
    elsewhere = run("mib", scenario="voc_10-1", data=COPY, dataset_content="a")
    assert names(comparable_sets([after, before, elsewhere], "scenario")) == [["plop", "gsc", "mib"]]


def test_a_setting_that_an_older_version_did_not_know_parts_nothing() -> None:
    old, new = run(), run("plop")
    recipe = new.experiment["recipe"]
    assert recipe is not None
    recipe["grad_clip"] = 0.0
    assert names(comparable_sets([old, new])) == [["gsc", "plop"]]


def test_sets_of_one_title_say_in_what_they_differ() -> None:
    sets = [[run()], [run(recipe={"lr": 0.2})], [run(data=COPY)], [run(order="B")]]
    same = told_apart(["a", "a", "b", "c"], sets)
    assert same == ["lr=0.001", "lr=0.2", "", ""]
    assert told_apart(["a", "b", "a"], sets[:3]) == ["data 3f2a91c4", "", "data 77b10000"]
    assert told_apart(["a"], sets[:1]) == [""]
    imported = [run("rcil", imported=True), run(recipe={"lr": 0.2})]
    assert told_apart(["a", "a"], [[run()], imported]) == ["lr=0.001", "lr=0.2"]


def made_with(**changed: Any) -> Run:
    made = run()
    for step in made.steps:
        assert step["training"]
        step["training"]["environment"] = {**ENVIRONMENT, **changed}
    return made


def test_what_was_not_made_alike_is_said_in_words() -> None:
    assert not_made_alike([run(), run("plop"), run("rcil", imported=True)]) == ""
    torch = {"versions": ENVIRONMENT["versions"] | {"torch": "2.7"}}
    assert not_made_alike([made_with(), made_with(**torch)]) == "Not made alike: torch 2.6 and 2.7."
    found = not_made_alike([made_with(), made_with(threads=2, deterministic=False), made_with(threads=8)])
    assert found == "Not made alike: 1, 2 and 8 threads; deterministic and not."
    assert not_made_alike([made_with(), made_with(git="def")]) == "Not made alike: git abc1234 and def."


def test_the_cpu_matters_where_no_gpu_did_the_work() -> None:
    assert not_made_alike([made_with(), made_with(cpu="Xeon")]) == ""
    on_cpu = [made_with(gpu=""), made_with(gpu="", cpu="Xeon")]
    assert not_made_alike(on_cpu) == "Not made alike: EPYC 7763 and Xeon."
    assert not_made_alike([made_with(), made_with(gpu="")]) == "Not made alike: H100 and EPYC 7763."


def test_a_step_of_a_run_that_was_made_otherwise_is_noticed() -> None:
    made = made_with()
    training = made.steps[0]["training"]
    assert training
    training["environment"] = {**ENVIRONMENT, "threads": 4}
    assert not_made_alike([made]) == "Not made alike: 4 and 1 threads."


def test_the_recipe_is_whole() -> None:
    assert run().experiment["recipe"] == RECIPE
