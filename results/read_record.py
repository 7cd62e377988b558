"""Reading the record of a run, and checking what is in it: strangers can make a checksum, too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from issbench.files import DamagedFile, read_sealed
from issbench.results.record import FORMAT, Record
from issbench.wellformed import misfit, short

_SETTING = r"overlapped|disjoint|sequential|partitioned(:\d{1,18})?|domain"
_LOOKS = {"colour": r"(#[0-9A-Fa-f]{6})?", "marker": r"[.,ov^<>12348spP*hH+xXDd|_]?", "dashes": r"(-|--|-\.|:)?"}


def read_record(path: Path, run: str | None) -> Record:
    """The record of a run (None: of any). DamagedFile where it is not whole, belongs to another run, or is of this
    version's format but not of its types; one of another format is given as it is. OSError where there is none."""
    record = read_sealed(path, run)
    fault = fault_of(record) if record.get("format") == FORMAT else None
    if fault:
        raise DamagedFile(path, f"is not as this version writes it: {fault}")
    if record.get("format") == FORMAT:
        _without_absent_classes(record)  # type: ignore[arg-type]  # its types have been checked
    return record  # type: ignore[return-value]


def _without_absent_classes(record: Record) -> None:
    """A class without a labelled pixel has no IoU, and none that could be forgotten. Earlier versions wrote 0 where
    it was predicted."""
    lost = record["metrics"].get("forgetting") or []
    for step in record["steps"]:
        counts, iou = step["counts"], step["metrics"]["iou"]
        if counts and 0 in counts["tp"]:
            for channel, labelled in enumerate(map(sum, zip(counts["tp"], counts["fn"], strict=False))):
                for values in (iou, lost):
                    if not labelled and channel < len(values):
                        values[channel] = None


def fault_of(record: object) -> str | None:
    """What is wrong with a record, with its place, in a few words; None where nothing is."""
    return misfit(record, Record, "the record") or _inconsistency(record)  # type: ignore[arg-type]  # its types have been checked


def _inconsistency(record: Record) -> str | None:
    """Where the parts of a record, which are all of the right types, do not fit together."""
    channels, steps, experiment = len(record["class_names"]), record["steps"], record["experiment"]
    if not re.fullmatch(r".+_\d{1,6}-\d{1,6}", experiment["scenario"]):
        return f"the record.experiment.scenario is {short(experiment['scenario'])}"
    if not re.fullmatch(_SETTING, experiment["setting"], re.ASCII):
        return f"the record.experiment.setting is {short(experiment['setting'])}"
    if not all(isinstance(experiment["protocol"].get(name), str) for name in ("name", "absent")):
        return "the record.experiment.protocol lacks its name or what absent classes count"
    looks = {name: re.fullmatch(form, record["method"][name]) for name, form in _LOOKS.items()}  # type: ignore[literal-required]
    if None in looks.values():
        return f"the record.method cannot be drawn with its {next(name for name in looks if not looks[name])}"
    if len(record["classes_per_step"]) != record["num_steps"]:
        return f"the record.num_steps is {record['num_steps']}, where classes_per_step has another number"
    numbers = [step["step"] for step in steps]
    if not steps or numbers != sorted({*numbers}) or not 0 <= numbers[0] <= numbers[-1] < record["num_steps"]:
        return f"the record.steps are {numbers} of {record['num_steps']}"
    return _inconsistent_channels(record, channels)


def _inconsistent_channels(record: Record, channels: int) -> str | None:
    for place, spans in record["group_spans"].items():
        for name, span in spans.items():  # type: ignore[attr-defined]  # of a TypedDict mypy knows no values
            if len(span) != 2 or not 0 <= span[0] <= span[1] + 1 <= channels:
                return f"the record.group_spans.{place}.{name} is {span}, with {channels} classes"
    for index, step in enumerate(record["steps"]):
        for name, evaluation in (step["evaluations"] or {}).items():
            images = PurePosixPath(evaluation["images"])
            if images.is_absolute() or ".." in images.parts:
                return f"the record.steps[{index}].evaluations.{name}.images leads out of the store"
        lists: dict[str, Sequence[object]] = {"metrics.iou": step["metrics"]["iou"]}
        lists |= {f"counts.{name}": values for name, values in (step["counts"] or {}).items()}  # type: ignore[misc]
        for name, values in lists.items():
            if not 1 <= len(values) <= channels:
                return f"the record.steps[{index}].{name} has {len(values)} values, with {channels} classes"
    return None
