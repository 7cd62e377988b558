"""Which runs may stand together: the one rule for tables, figures, tests of significance and the report.

Runs may be put side by side when they answer the same question in the same way: the same scenario, setting, order,
classes, fraction of images and protocol (but for what the rows or columns of a table tell apart), the same recipe
and precision, the same data. Method and seed may always differ. What can change only the last bit of a number
(versions, devices, threads) may differ, too, and a note says so: see `not_made_alike`.

An imported run's recipe and data are unknown, so it may stand beside those of every recipe and of all data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from issbench.results.record import Environment
from issbench.results.runs import Run

_MOST_FACTS = 4


def question(run: Run, *varies: str) -> Hashable:
    """Equal for runs that answer the same question: all but method, recipe, data and seed, and what a table's rows
    or columns tell apart (`varies`, such as "order")."""
    experiment = run.experiment
    facts = {"scenario": run.scenario, "setting": run.setting, "order": run.order}
    rest = tuple(experiment["classes"]), run.images, tuple(sorted(experiment["differs"]["protocol"].items()))
    return *(fact for name, fact in facts.items() if name not in varies), experiment["dataset"], rest


def recipe_of(run: Run) -> dict[str, Any] | None:
    """The recipe, with the precision that `auto` became; None where it is unknown."""
    recipe, step = run.experiment["recipe"], run.last["recipe"]
    return None if recipe is None or step is None else recipe | {"precision": step["precision"]}


def comparable_sets(runs: Iterable[Run], *varies: str) -> list[list[Run]]:
    """The runs in sets that may stand together, in the order given. An imported run is in several where runs of its
    question have several recipes."""
    runs = list(runs)
    questions: dict[Hashable, list[Run]] = {}
    for run in runs:
        questions.setdefault(question(run, *varies), []).append(run)
    return [members for asked in questions.values() for members in _of_one_recipe_and_data(asked)]


def _of_one_recipe_and_data(runs: list[Run]) -> list[list[Run]]:
    recipes: dict[Hashable, list[Run]] = {}
    for run in runs:
        if not run.imported:
            recipes.setdefault(_recipe_key(run), []).append(run)
    known = [members for recipe in recipes.values() for members in _of_one_data(recipe)]
    chosen = [{id(run) for run in members} for members in known] or [set()]
    return [[run for run in runs if run.imported or id(run) in members] for members in chosen]


def _recipe_key(run: Run) -> Hashable:
    """Equal for equal recipes, whether or not a version knows more settings than another."""
    step = run.last["recipe"]
    return tuple(sorted(run.experiment["differs"]["recipe"].items())), step and step["precision"]


def _of_one_data(runs: list[Run]) -> list[list[Run]]:
    """Runs that answer the same question must have read the same images and labels; those of other scenarios read
    others, and must come from the same dataset."""
    datasets: dict[Hashable, str] = {}
    for run in runs:
        read, dataset = (question(run), run.record["data"]), run.record["dataset_content"] or ""
        datasets[read] = min(datasets.get(read, dataset), dataset)  # images that no step reads may have changed
    sets: dict[str, list[Run]] = {}
    for run in runs:
        sets.setdefault(datasets[question(run), run.record["data"]], []).append(run)
    return list(sets.values())


def told_apart(titles: Sequence[str], sets: Sequence[Sequence[Run]]) -> list[str]:
    """For each of some sets in what it differs from others of the same title: `lr=0.01`, `data 3f2a91c4`; empty
    where the title is its own."""
    counts, ours = Counter(titles), [min(members, key=lambda run: run.imported) for members in sets]
    return [
        _difference(run, [other for other, name in zip(ours, titles, strict=True) if name == title])
        if counts[title] > 1
        else ""
        for title, run in zip(titles, ours, strict=True)
    ]


def _difference(run: Run, others: Sequence[Run]) -> str:
    mine, facts = _facts(run), [_facts(other) for other in others]
    differ = [name for name in mine if len({json.dumps(other.get(name)) for other in facts}) > 1]
    shown = [f"data {_short(run)}" if name == "data" else f"{name}={mine[name]}" for name in differ]
    return ", ".join(shown[:_MOST_FACTS])


def _facts(run: Run) -> dict[str, Any]:
    classes = ", ".join(run.experiment["classes"]) or "all"
    recipe = recipe_of(run) or {"recipe": "unknown"}
    return {"data": run.record["data"], **run.experiment["protocol"], **recipe, "classes": classes}


def data_names(runs: Iterable[Run]) -> dict[str, str]:
    """For each run by its name what tells its data from those of the others, such as `data 3f2a91c4`; empty where
    all runs that answer the same question are on the same data."""
    runs = [run for run in runs if not run.imported]
    found: dict[Hashable, set[str | None]] = {}
    for run in runs:
        found.setdefault(question(run), set()).add(run.record["data"])
    return {run.name: f"data {_short(run)}" * (len(found[question(run)]) > 1) for run in runs}


def _short(run: Run) -> str:
    """The identity of a run's data, short enough to read."""
    return (run.record["data"] or "unknown")[:8]


def not_made_alike(runs: Iterable[Run]) -> str:
    """In what the making of runs differed that can change the last bit of a number, as a note; empty for nothing:
    `Not made alike: torch 2.6 and 2.7; 1 and 2 threads.`"""
    found: dict[str, dict[str, None]] = {}
    seen: list[Environment] = []
    for run in runs:
        for step in run.steps:
            training = step["training"]
            if training and training["environment"] not in seen:
                seen.append(training["environment"])
                for name, text in _decisive(training["environment"]):
                    found.setdefault(name, {})[text] = None
    differ = [_in_words(name, list(texts)) for name, texts in found.items() if len(texts) > 1]
    return f"Not made alike: {'; '.join(differ)}." if differ else ""


def leaking(runs: Iterable[Run]) -> str:
    """Which runs trained on test images, as a note; empty where none did."""
    found = {run.name: run.record["leaks"] for run in runs if run.record.get("leaks")}
    if not found:
        return ""
    return (
        f"Trained on test images (--allow-leak): {len(found)} of the runs, on data whose training split holds "
        f"{max(found.values())} images of the test split."
    )


def environment_facts(environment: Environment) -> list[tuple[str, str]]:
    """What a step was trained with as (name, text)."""
    return [
        *environment["versions"].items(),
        ("git", environment["git"]),
        ("cpu", environment["cpu"]),
        ("gpu", environment["gpu"] or "none"),
        ("threads", str(environment["threads"])),
        ("deterministic", "yes" if environment["deterministic"] else "no"),
        ("precision", environment["precision"]),
    ]


def _decisive(environment: Environment) -> list[tuple[str, str]]:
    """The same for what can change a number: the model of the CPU counts where no GPU did the work."""
    facts = [fact for fact in environment_facts(environment) if fact[0] not in ("cpu", "gpu")]
    return [*facts, ("device", environment["gpu"] or environment["cpu"])]


def _in_words(name: str, texts: list[str]) -> str:
    several = f"{', '.join(texts[:-1])} and {texts[-1]}"
    if name == "device":
        return several
    if name == "threads":
        return f"{several} threads"
    if name == "deterministic":
        return "deterministic and not"
    return f"{name} {several}"
