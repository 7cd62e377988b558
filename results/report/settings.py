"""Recipes and versions: how it was trained, and by what software."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from issbench.results.runs import Run
from issbench.results.table import MISSING, Table, text_table


def recipe_table(runs: Sequence[Run]) -> Table:
    """A column for each recipe, a row for each of its settings. `precision` is what `auto` became."""
    recipes: dict[tuple[tuple[str, str], ...], dict[str, None]] = {}
    for run in runs:
        if not run.imported:
            recipe = tuple((name, _text(value)) for name, value in _recipe(run).items())
            recipes.setdefault(recipe, {})[run.experiment["scenario"]] = None
    columns = [dict(recipe) for recipe in recipes]
    heads = [", ".join(scenarios) for scenarios in recipes.values()]
    heads = [f"{head} (recipe {i})" if heads.count(head) > 1 else head for i, head in enumerate(heads, start=1)]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[name, *(column.get(name, MISSING) for column in columns)] for name in names]
    imported = sum(run.imported for run in runs)
    notes = [f"The recipes of {imported} imported runs are unknown."] * bool(imported)
    return text_table("Training recipe by scenario", ["setting", *heads], rows, notes)


def _recipe(run: Run) -> dict[str, Any]:
    """The experiment's recipe, with the precision in which it was trained."""
    return run.experiment["recipe"] | {"precision": run.last["recipe"]["precision"]}


def _text(value: Any) -> str:
    return MISSING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def version_table(runs: Sequence[Run]) -> Table:
    """The software that trained the steps; more than one version of a name is said so."""
    found: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        for step in run.record["steps"]:
            for name, version in (step["training"] or {"versions": {}})["versions"].items():
                found.setdefault(name, {}).setdefault(version, set()).add(step["key"])
    rows, mixed = [], []
    for name, versions in found.items():
        told = [f"{v} ({len(keys)} steps)" if len(versions) > 1 else v for v, keys in versions.items()]
        mixed += [name] * (len(versions) > 1)
        rows.append([name, ", ".join(told)])
    notes = [f"Not the same for all steps: {', '.join(mixed)}."] * bool(mixed)
    return text_table("Software of the training", ["name", "version"], rows, notes)
