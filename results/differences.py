"""What differs between two runs: what was asked for, under what circumstances it was trained, and the results, from
where the losses part. Reads records and, where the runs still lie in their stores, the files of their steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from issbench.files import DamagedFile, read_sealed
from issbench.results.comparable import environment_facts
from issbench.results.record import StepRecord, Training
from issbench.results.runs import Run

Line = tuple[str, str]
"""What differs, and how: the value of the first run `against` that of the second."""
_UNKNOWN = "unknown"
_MOST = 120
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Differences:
    """Of two runs; each list is empty where they agree."""

    settings: list[Line]
    """What was asked for."""
    circumstances: list[Line]
    """Data, code, versions and machine."""
    results: list[Line]
    """Losses, weights and counts: the bits."""

    @property
    def none(self) -> bool:
        """Whether the runs agree in everything."""
        return not (self.settings or self.circumstances or self.results)


def differences(one: Run, other: Run) -> Differences:
    """What differs between two runs, as far as both have come."""
    return Differences(settings(one, other), circumstances(one, other), results(one, other))


def settings(one: Run, other: Run) -> list[Line]:
    """What was asked for. A setting that only one of the versions knows counts where it is not at its default."""
    ours, theirs = _asked(one), _asked(other)
    changed = {name for run in (one, other) for differs in run.experiment["differs"].values() for name in differs}
    known = {*ours} & {*theirs} | changed
    found = _unlike({n: v for n, v in ours.items() if n in known}, {n: v for n, v in theirs.items() if n in known})
    if not {"order", "classes", "scenario"} & {name for name, _ in found}:
        learned = ({"classes learned": run.record["class_names"][1:]} for run in (one, other))
        found += _unlike(*learned)
    return found


def _asked(run: Run) -> dict[str, Any]:
    experiment = run.experiment
    names = ("scenario", "setting", "order", "classes", "seed")
    facts = {"method": run.method["name"], "images": run.images, **{name: experiment[name] for name in names}}  # type: ignore[literal-required]
    options = {f"option {name}": value for name, value in run.method["options"].items()}
    protocol = {f"protocol {name}": value for name, value in experiment["protocol"].items()}
    return {**facts, **options, **protocol, **(experiment["recipe"] or {})}


def circumstances(one: Run, other: Run) -> list[Line]:
    """Data, code, versions and machine: what can change results while the settings are the same."""
    steps = {step["step"]: (step["key"], _identity(other, step)) for step in other.steps}
    return data_of(one, other) + other_key(one, steps) + _unlike(_made_with(one), _made_with(other))


def data_of(one: Run, other: Run) -> list[Line]:
    """Whether the runs read other images and labels."""
    return _unlike({"images and labels": one.record["data"]}, {"images and labels": other.record["data"]})


def _made_with(run: Run) -> dict[str, str]:
    """How the steps were trained: of each fact all values, in the order of the steps."""
    found: dict[str, dict[str, None]] = {}
    for training in filter(None, (step["training"] for step in run.steps)):
        rest = [("device", training["device"]), ("processes", str(training["processes"]))]
        for name, text in [*environment_facts(training["environment"]), *rest]:
            found.setdefault(name, {})[text] = None
    return {name: " and ".join(texts) for name, texts in found.items()}


def other_key(run: Run, steps: Mapping[int, tuple[str | None, Mapping[str, Any] | None]]) -> list[Line]:
    """The first step that has another key elsewhere, and why; the steps after it follow from that. `steps` has the
    key of each step there, and what it is a hash of where that is known."""
    for step in run.steps:
        key, identity = steps.get(step["step"], (None, None))
        if key and step["key"] and key != step["key"]:
            return [(f"step {step['step']} has another key", _why(_identity(run, step), identity))]
    return []


def _identity(run: Run, step: StepRecord) -> Mapping[str, Any] | None:
    """What the key of a step is a hash of; None where its store no longer says."""
    return _stored(run, step, "identity.json").get("identity")


def _why(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """In what two keys differ, in the words of identity.json."""
    if one is None or other is None:
        return (
            "by code, data, first weights or settings (which of them is not known: its identity.json is not there)"
        )
    return "; ".join(f"{name} {text}" for name, text in _unlike(dict(_flat(one)), dict(_flat(other))))


def same_training(run: Run, step: StepRecord, store: Path) -> bool:
    """Whether a store has the very training of a step, not a repetition of it, whose seconds would be others."""
    found = _stored(Run(store / "runs" / run.name, run.record), step, "training.json")
    return step["training"] is not None and found.get("seconds") == step["training"]["seconds"]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings: `method options lambda1`."""
    for name, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, f"{prefix}{name} ")
        else:
            yield prefix + name, each


def results(one: Run, other: Run) -> list[Line]:
    """From where the bits differ, and how far the results are apart; empty for the same bits."""
    pairs = list(_pairs(one, other))
    found = [
        *_first(losses_part(*pair) for pair in pairs),
        *_first(_weights(one, other, *pair) for pair in pairs),
        *_first(_counts(*pair) for pair in pairs),
    ]
    if len(one.steps) != len(other.steps):
        found.append(("finished steps", f"{len(one.steps)} against {len(other.steps)}"))
    return found + (_scores(*pairs[-1]) if pairs else [])


def losses_part(one: StepRecord, other: StepRecord) -> list[Line]:
    """The first epoch of a step in which a term of the loss differs."""
    ours, theirs = one["training"], other["training"]
    if ours is None or theirs is None:
        return []
    for epoch in range(max(len(ours["history"]), len(theirs["history"]))):
        terms = [dict(each["history"][epoch]) if epoch < len(each["history"]) else {} for each in (ours, theirs)]
        unlike = _unlike(*terms)
        if unlike:
            where = f"losses part in step {one['step']}, epoch {epoch + 1}{_iterations(one, ours, epoch)}"
            return [(where, "; ".join(f"{name} {text}" for name, text in unlike))]
    return []


def _iterations(step: StepRecord, training: Training, epoch: int) -> str:
    """The iterations of an epoch (from 0): in one of them the losses part, of which records have the means."""
    epochs, batch = len(training["history"]), (step["recipe"] or {}).get("batch")
    if not isinstance(batch, int) or epoch >= epochs:
        return ""
    each = training["images"] // batch // epochs
    return f" (of the iterations {epoch * each + 1} to {(epoch + 1) * each})"


def _weights(one: Run, other: Run, ours: StepRecord, theirs: StepRecord) -> list[Line]:
    """Whether the networks after a step differ, as far as both stores still have them."""
    hashes = [weights_of(one, ours), weights_of(other, theirs)]
    if None in hashes or hashes[0] == hashes[1]:
        return []
    return [(f"weights differ after step {ours['step']}", " against ".join(str(each)[:16] for each in hashes))]


def weights_of(run: Run, step: StepRecord) -> str | None:
    """The SHA-256 of the network after a step; None where its store no longer has it."""
    return _stored(run, step, "seal.json").get("weights.safetensors")


def _stored(run: Run, step: StepRecord, name: str) -> dict[str, Any]:
    """A sealed file of a step; empty where there is none that can be trusted."""
    try:
        return read_sealed(run.store / "steps" / str(step["key"]) / name, step["key"])
    except (OSError, DamagedFile):
        return {}


def _counts(one: StepRecord, other: StepRecord) -> list[Line]:
    """In which classes the counts of a step's test differ."""
    ours, theirs = one["counts"], other["counts"]
    if ours is None or theirs is None or ours == theirs:
        return []
    rows = [list(zip(*(each[kind] for kind in ("tp", "fp", "fn")), strict=True)) for each in (ours, theirs)]
    alike = sum(a == b for a, b in zip(*rows, strict=False))
    classes = max(map(len, rows))
    return [(f"counts differ after step {one['step']}", f"in {classes - alike} of {classes} classes")]


def _scores(one: StepRecord, other: StepRecord) -> list[Line]:
    """How far the mIoU of groups of classes is apart after a step."""
    found = []
    for group, ours in one["metrics"]["groups"].items():
        theirs = other["metrics"]["groups"].get(group)
        if ours is not None and theirs is not None and ours != theirs:
            text = f"{ours:.4g} against {theirs:.4g}, {theirs - ours:+.2g} points"
            found.append((f"mIoU (%) of {group} after step {one['step']}", text))
    return found


def _pairs(one: Run, other: Run) -> Iterator[tuple[StepRecord, StepRecord]]:
    """The steps that both runs have, in order."""
    theirs = {step["step"]: step for step in other.steps}
    return ((step, theirs[step["step"]]) for step in one.steps if step["step"] in theirs)


def _first(found: Iterable[list[Line]]) -> list[Line]:
    """The first that is not empty."""
    return next(filter(None, found), [])


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Line]:
    """The values that differ, by name."""
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    return [
        (n, " against ".join(_shown(each[n]) if n in each else _UNKNOWN for each in (one, other))) for n in names
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return (text if len(text) <= _MOST else f"{text[:_MOST]}…") or "none"
