"""Makes valid records of runs, and writes them sealed into a store, without training anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from issbench.bench.identity import what_differs
from issbench.files import write_sealed
from issbench.results.record import FORMAT, Environment, MethodFacts, Record, Score, StepRecord
from issbench.results.runs import Run
from issbench.scenarios.protocol import PROTOCOLS

RECIPE: dict[str, Any] = {
    "epochs": 30, "first_epochs": None, "lr": 0.001, "first_lr": 0.01, "batch": 24, "crop": 512, "momentum": 0.9,
    "weight_decay": 0.0001, "backbone": "resnet101", "weights": "imagenet", "precision": "auto",
}  # fmt: skip
DATA = "3f2a91c4d0e8b7f65a4c3b2a19080706"
ENVIRONMENT: Environment = {
    "versions": {"python": "3.11", "torch": "2.6", "issbench": "0.2.0"}, "git": "abc1234", "cpu": "EPYC 7763",
    "gpu": "H100", "threads": 1, "deterministic": True, "precision": "fp32",
}  # fmt: skip
ITEMS = {"voc": 20, "ade": 150, "cityscapes": 21, "shapes": 6}
PARTS = ("pr", "sg", "sr", "sc")
_LOOKS = {  # title, order, colour, marker, dashes, key in references.bib
    "ft": ("FT", 0, "#7F7F7F", "x", ":", ""),
    "joint": ("Joint", 1, "#000000", "8", "--", ""),
    "ewc": ("EWC", 2, "#CC79A7", "v", ":", "kirkpatrick2017overcoming"),
    "lwf": ("LwF", 3, "#56B4E9", "<", "--", "li2018learning"),
    "lwf-mc": ("LwF-MC", 4, "#E69F00", ">", "--", "rebuffi2017icarl"),
    "ilt": ("ILT", 5, "#009E73", "^", "--", "michieli2019incremental"),
    "mib": ("MiB", 6, "#E69F00", "s", "-", "cermelli2020modeling"),
    "sdr": ("SDR", 7, "#CC79A7", "D", "-", "michieli2021continual"),
    "plop": ("PLOP", 8, "#0072B2", "o", "-", "douillard2021plop"),
    "rcil": ("RCIL", 10, "#009E73", "P", "-", "zhang2022representation"),
    "gsc": ("GSC", 11, "#D55E00", "*", "-", "cong2024gradient"),
}
_SWITCH = {"on": True, "off": False}


def method_facts(spec: str) -> MethodFacts:
    """The facts of `gsc:sg=off`, as its class would give them: GSC and what is combined with it have options."""
    name, _, text = spec.partition(":")
    base, *added = name.split("+")
    title, order, colour, marker, dashes, cite = _LOOKS.get(base, (base.upper(), None, "", "", "", ""))
    parts = [part for part in PARTS if part in added or "gsc" in (base, *added)]
    options: dict[str, Any] = dict.fromkeys(parts, True)
    options |= {"lambda1": 0.3, "lambda2": 0.1} if "gsc" in (base, *added) else {}
    for key, _, value in (pair.partition("=") for pair in text.split(",") if pair):
        options[key] = _SWITCH[value] if value in _SWITCH else float(value)
    return {
        "name": name, "title": "+".join([title, *(part.upper() for part in added)]), "options": options,
        "parts": parts, "order": order, "colour": colour, "marker": marker, "dashes": dashes, "cite": cite,
        "upper_bound": base == "joint",
    }  # fmt: skip


def one_step(index: int, channels: int, groups: Mapping[str, Score], key: str, epochs: int = 2) -> StepRecord:
    """A step's record. `groups`: mIoU as printed, the base classes first, then the new ones, and `all`."""
    base, new = [*[value for name, value in groups.items() if name != "all"], None, None][:2]
    iou: list[Score] = [50.0 + channel % 50 + (index % 3) / 3 for channel in range(channels)]
    tp, fp, fn = ([123456 + step * channel for channel in range(channels)] for step in (7, 5, 3))
    history = [{"classification": 0.123456789 / (1 + e), "distillation": 0.0123456789} for e in range(epochs)]
    return {
        "step": index,
        "key": key,
        "metrics": {
            "iou": iou, "miou": {"base": base, "new": new, "all": groups["all"]}, "groups": dict(groups),
            "pixel_accuracy": 88.123456,
            "hiou": None if base is None or new is None else 2 * base * new / ((base + new) or 1),
        },
        "counts": {"tp": tp, "fp": fp, "fn": fn},
        "evaluations": {"confusion": {"name": "evaluation-abc", "images": f"steps/{key}/evaluation-abc.npz"}},
        "test_images": 1449,
        "test_seconds": 12.3456789,
        "recipe": RECIPE | {"precision": "fp32"},
        "training": {
            "seconds": 1234.56789, "images": 123456, "train_images": 1234, "history": history,
            "peak_memory_bytes": 2**31, "device": "cuda", "processes": 1, "environment": ENVIRONMENT,
        },
    }  # fmt: skip


def one_record(
    method: str = "gsc", scenario: str = "voc_15-1", setting: str = "overlapped", seed: int = 0, *,
    scores: Sequence[Mapping[str, Score]] = (), order: str = "natural", classes: Sequence[str] = (),
    protocol: str = "plop", recipe: Mapping[str, Any] | None = None, data: str | None = DATA,
    complete: bool = True, forgetting: Sequence[float | None] | None = None, over_steps: Score = 60.0,
    imported: bool = False, epochs: int = 2, dataset_content: str | None = None, images: str | None = None,
) -> Record:  # fmt: skip
    """A record. `scores`: mIoU of the printed groups after each step; without them as if all went well.

    An unfinished run (`complete` false) lacks its last step.
    """
    dataset, split = scenario.split("_")
    base, increment = (int(part) for part in split.split("-"))
    total = len(classes) or ITEMS[dataset]
    sizes = [base, *[increment] * ((total - base) // increment)]
    spans: dict[str, Sequence[int]] = {f"0-{base}": (0, base), f"{base + 1}-{total}": (base + 1, total)}
    scores = scores or [
        {**dict(zip(spans, (60.0 - t, 30.0 if t else None), strict=True)), "all": 50.0 - t}
        for t in range(len(sizes))
    ]
    own = {**RECIPE, **(recipe or {})}
    steps = [
        one_step(t, sum(sizes[: t + 1]) + 1, groups, f"{method}-{scenario}-{setting}-{order}-{seed}-{t}", epochs)
        for t, groups in enumerate(scores)
    ]
    for step in steps:
        step["recipe"] = {**own, "precision": "fp32" if own["precision"] == "auto" else own["precision"]}
    record: Record = {
        "format": FORMAT,
        "source": None,
        "experiment": {
            "method": method, "scenario": scenario, "setting": setting, "order": order, "classes": list(classes),
            "seed": seed, "protocol": dataclasses.asdict(PROTOCOLS[protocol]), "recipe": own, "data": None,
            "dataset": dataset, "metrics": [],
            "differs": {
                "protocol": what_differs(PROTOCOLS[protocol]),
                "recipe": {name: value for name, value in own.items() if value != RECIPE.get(name)},
            },
        },
        "data": data,
        "dataset_content": dataset_content or data,
        "method": method_facts(method),
        "protocol": PROTOCOLS[protocol].summary(),
        "class_names": ["background", *(classes or [f"class {c}" for c in range(1, total + 1)])],
        "group_spans": {
            "named": {"base": (0, base), "new": (base + 1, total), "all": (0, total)},
            "printed": {**spans, "all": (0, total)},
        },
        "classes_per_step": sizes,
        "num_steps": len(sizes),
        "complete": complete,
        "steps": steps if complete else steps[:-1],
        "metrics": {},
    }  # fmt: skip
    if images is not None:
        record["experiment"]["images"] = images
    if complete:
        lost = list(forgetting) if forgetting is not None else [float(c) for c in range(total + 1)]
        record["metrics"] = {"mean_over_steps": over_steps, "forgetting": lost}
    return as_imported(record) if imported else record


def as_imported(record: Record) -> Record:
    """The same numbers as if other code had trained and tested."""
    steps: list[StepRecord] = [
        {
            "step": step["step"], "metrics": step["metrics"], "key": None, "counts": None, "evaluations": None,
            "test_images": None, "test_seconds": None, "recipe": None, "training": None,
        }
        for step in record["steps"]
    ]  # fmt: skip
    name = record["experiment"]["method"]
    method: MethodFacts = {**record["method"], "name": f"{name}-imported", "order": None, "colour": ""}
    method["title"] += " (imported)"
    return {
        **record,
        "source": {"format": "plop", "file": "a.csv", "sha256": "0" * 64},
        "experiment": {**record["experiment"], "method": f"{name}-imported", "recipe": None},
        "data": None, "dataset_content": None, "method": method, "steps": steps,
    }  # fmt: skip


def write_run(out: Path, name: str, record: Record) -> Run:
    """Write a sealed record as a run of the store `out`; returns the run."""
    path = out / "runs" / name
    path.mkdir(parents=True, exist_ok=True)
    write_sealed(path / "run.json", record, name)
    return Run(path, record)
