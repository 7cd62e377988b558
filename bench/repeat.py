"""The experiment that the record of a run repeats. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from issbench.bench.experiment import Experiment, experiment_of, spec_of
from issbench.bench.identity import what_differs
from issbench.bench.recipe import Recipe
from issbench.errors import UsageError
from issbench.methods.interface.options import spell
from issbench.results.record import Record
from issbench.scenarios.protocol import Protocol


def experiment_from(record: Record, path: Path, data: Path | None = None) -> Experiment:
    """The experiment of a record, with every setting as it was; `data` in place of the directory that it names.

    UsageError, which names the record by its `path`, where it does not say all that is needed, or where what it
    names is not here.
    """
    if record["source"] is not None:
        raise UsageError(
            f"{path} was imported from {record['source']['file']}, which tells no recipe: nothing to repeat"
        )
    try:
        method = record["method"]
        options = {name: spell(value) for name, value in method["options"].items()}
        facts: dict[str, Any] = {**record["experiment"], "method": spec_of(method["name"], options)}
        for name, kind in {"protocol": Protocol, "recipe": Recipe}.items():
            facts[name] = _settings(kind, facts[name], facts["differs"][name])
        return experiment_of(facts, None if data is None else str(data))
    except UsageError as error:
        raise UsageError(f"{path} cannot be repeated: {error}") from None
    except KeyError as error:
        raise UsageError(
            f"{path} cannot be repeated: it lacks {error.args[0]}; use the run.json that bench wrote"
        ) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} cannot be repeated: a value of it is of the wrong kind ({error})") from None


def _settings(kind: type, found: Mapping[str, Any], differs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a dataclass as a record has them. A version may know more of them than another: what a record
    lacks was at its default, unless it stands among those that differ from theirs.

    UsageError where a setting that differs is lacking, is not known here, or has another default here.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    values = {name: found[name] for name in names if name in found}
    unknown = [name for name in differs if name not in names]
    if unknown:
        raise UsageError(f"it has the setting {unknown[0]}={differs[unknown[0]]}, which this version does not know")
    lacking = [name for name in differs if name not in values]
    if lacking:
        raise UsageError(f"it lacks the setting {lacking[0]}; use the run.json that bench wrote")
    here = what_differs(kind(**values))
    for name in {**here, **differs}:
        if here.get(name) != differs.get(name):
            raise UsageError(f"the default of {name} is another one in this version; use the version that wrote it")
    return values
