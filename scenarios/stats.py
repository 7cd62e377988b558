"""Counts of a scenario: images per step, and per class in each step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.orders import NATURAL
from issbench.scenarios.presence import presence
from issbench.scenarios.protocol import get_protocol
from issbench.scenarios.scenario import canonical_setting, check_split, default_setting, make_scenario, parse_name
from issbench.scenarios.views import step_data


def scenario_stats(
    name: str,
    root: Path | None,
    setting: str | None = None,
    order: str = NATURAL,
    classes: tuple[str, ...] = (),
    protocol: str | None = None,
    images: str = "1",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Lines of text: for each step its training and test images and, class by class, the images that hold it."""
    setting = canonical_setting(setting or default_setting(name))
    dataset = load_dataset(parse_name(name)[0], root)
    dataset = dataset.with_domains() if setting == "domain" else dataset
    scenario = make_scenario(name, dataset, setting, order, classes, images)
    rules = get_protocol(protocol, setting)
    train, test = presence(dataset, "train", on_progress), presence(dataset, "test", on_progress)
    rows = {sample: index for index, sample in enumerate(train.ids)}
    remark = check_split(scenario)
    head = f"{name}, {setting}, order {order}, protocol {rules.name}"
    head += f", images {scenario.images}" if scenario.images.fraction < 1 else ""
    lines = [head, *([remark] if remark else [])]
    for step, new in enumerate(scenario.steps):
        data = step_data(scenario, dataset, rules, step, train, test)
        lines.append(f"step {step}: {len(data.train.ids)} training images, {len(data.test.ids)} test images")
        if setting == "domain":
            lines.append("    " + ", ".join(dataset.domains[item] for item in new))
            continue
        present = train.table[[rows[sample] for sample in data.train.ids]]
        lines += [f"    {dataset.classes[c - 1]:<24}{int(present[:, c].sum()):>7}" for c in new]
    return lines
