"""Makes a run store of many finished runs: `python tests/support/many_records.py DIR COUNT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

METHODS = ("ft", "ewc", "lwf", "lwf-mc", "ilt", "mib", "sdr", "plop", "rcil", "gsc", "rcil+gsc", "gsc:sg=off")
SCENARIOS = (("voc_19-1", 2), ("voc_15-5", 2), ("voc_10-10", 2), ("voc_15-1", 6), ("voc_10-1", 11))
SETTINGS = ("disjoint", "overlapped")
ORDERS = ("natural", "B", "C", "D", "E")
RECIPE = {
    "epochs": 30, "first_epochs": None, "lr": 0.001, "first_lr": 0.01, "batch": 24, "crop": 512, "momentum": 0.9,
    "weight_decay": 0.0001, "backbone": "resnet101", "weights": "imagenet", "precision": "auto",
}  # fmt: skip


def one_step(index: int, channels: int, epochs: int = 30) -> dict[str, Any]:
    """A step's record, as large as that of a real one."""
    iou = [50.123456789 + channel + index / 3 for channel in range(channels)]
    counts = {name: [123456 + 7 * channel for channel in range(channels)] for name in ("tp", "fp", "fn")}
    history = [{"classification": 0.123456789 / (1 + e), "distillation": 0.0123456789} for e in range(epochs)]
    groups = {"0-15": 60.123456 - index, "16-20": 30.123456 if index else None, "all": 50.123456 - index}
    training = {
        "seconds": 1234.56789, "images": 123456, "train_images": 1234, "history": history,
        "peak_memory_bytes": 12345678901, "device": "cuda", "versions": {"python": "3.11", "torch": "2.6"},
    }  # fmt: skip
    return {
        "step": index, "key": f"{index:024x}", "iou": iou, "groups": groups, "pixel_accuracy": 88.123456,
        "miou": {"base": groups["0-15"], "new": groups["16-20"], "all": groups["all"]}, "counts": counts,
        "test_images": 1449, "test_seconds": 12.3456789, "recipe": RECIPE | {"precision": "bf16"},
        "training": training,
    }  # fmt: skip


def one_record(number: int) -> dict[str, Any]:
    """The record of run `number`: every number is another method, scenario, setting, order or seed."""
    rest, m = divmod(number, len(METHODS))
    rest, s = divmod(rest, len(SCENARIOS))
    rest, setting = divmod(rest, len(SETTINGS))
    seed, order = divmod(rest, len(ORDERS))
    scenario, steps = SCENARIOS[s]
    base, increment = (int(part) for part in scenario.partition("_")[2].split("-"))
    sizes = [base] + [increment] * (steps - 1)
    experiment = {
        "method": METHODS[m], "scenario": scenario, "setting": SETTINGS[setting], "order": ORDERS[order],
        "classes": [], "seed": seed, "protocol": {"name": "plop"}, "recipe": RECIPE, "data": None, "dataset": "voc",
    }  # fmt: skip
    return {
        "format": 1, "experiment": experiment, "title": METHODS[m].partition(":")[0].upper(),
        "protocol": "protocol plop: void pixels ignored", "class_names": [f"class {c}" for c in range(21)],
        "classes_per_step": sizes, "num_steps": steps, "complete": True,
        "steps": [one_step(t, sum(sizes[: t + 1]) + 1) for t in range(steps)], "mean_over_steps": 40.123456,
        "forgetting": [float(c) for c in range(21)],
    }  # fmt: skip


def make_store(out: Path, count: int) -> int:
    """A store of `count` finished runs; returns the bytes of all records."""
    size = 0
    for number in range(count):
        folder = out / "runs" / f"run-{number:06}"
        folder.mkdir(parents=True)
        size += (folder / "run.json").write_text(json.dumps(one_record(number), indent=1), encoding="utf-8")
    return size


if __name__ == "__main__":
    print(f"{make_store(Path(sys.argv[1]), int(sys.argv[2])) / 1e6:.1f} MB")
