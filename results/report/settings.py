"""Recipes and environments: how the runs were trained, by what software, and on which machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from issbench.results.comparable import environment_facts, recipe_of
from issbench.results.runs import Run
from issbench.results.table import MISSING, Table, text_table


def recipe_table(runs: Sequence[Run]) -> Table:
    """A column for each recipe, a row for each of its settings. `precision` is what `auto` became."""
    recipes: dict[tuple[tuple[str, str], ...], dict[str, None]] = {}
    for run in runs:
        found = recipe_of(run)
        if found is not None:
            recipe = tuple((name, _text(value)) for name, value in found.items())
            recipes.setdefault(recipe, {})[run.scenario] = None
    columns = [dict(recipe) for recipe in recipes]
    heads = [", ".join(scenarios) for scenarios in recipes.values()]
    heads = [f"{head} (recipe {i})" if heads.count(head) > 1 else head for i, head in enumerate(heads, start=1)]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[name, *(column.get(name, MISSING) for column in columns)] for name in names]
    imported = sum(run.imported for run in runs)
    notes = [f"The recipes of {imported} imported runs are unknown."] * bool(imported)
    return text_table("Training recipe by scenario", ["setting", *heads], rows, notes)


def _text(value: Any) -> str:
    return MISSING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def environment_table(runs: Sequence[Run]) -> Table:
    """The software and the machines that trained the steps, and in what the steps differ there."""
    found: dict[str, dict[str, set[str | None]]] = {}
    for run in runs:
        for step in run.steps:
            for name, text in environment_facts(step["training"]["environment"]) if step["training"] else ():
                found.setdefault(name, {}).setdefault(text, set()).add(step["key"])
    rows, mixed = [], []
    for name, texts in found.items():
        values = [f"{text} ({len(keys)} steps)" if len(texts) > 1 else text for text, keys in texts.items()]
        mixed += [name] * (len(texts) > 1)
        rows.append([name, ", ".join(values)])
    notes = [f"Not the same for all steps: {', '.join(mixed)}."] * bool(mixed)
    return text_table("Software and machines of the training", ["name", "value"], rows, notes)
