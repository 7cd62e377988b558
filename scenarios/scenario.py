"""Scenarios: which classes (or domains) are learned at which step. Names follow DATASET_BASE-INC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from issbench.scenarios.datasets import dataset_class, dataset_classes, dataset_names
from issbench.scenarios.draws import ALL, Share, parse_draw, parse_share
from issbench.scenarios.errors import ScenarioError, unknown_name
from issbench.scenarios.orders import NATURAL, resolve_order

if TYPE_CHECKING:
    from issbench.scenarios.datasets.base import Dataset

Setting = Literal["overlapped", "disjoint", "sequential", "partitioned", "domain"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
IN_WORDS: dict[Setting, str] = {
    "overlapped": "images with a new class; new classes are labelled",
    "disjoint": "of these, the images without a class to come",
    "sequential": "the images of disjoint; old classes are labelled, too",
    "partitioned": "each image in the step of a class drawn from those it holds; partitioned:SEED is another draw",
    "domain": "a step is some of the dataset's domains; all classes are labelled at each",
}


@dataclass(frozen=True)
class Scenario:
    """What is learned when.

    `steps` holds, for each step, the dataset's labels of its new classes in learning order; in the setting
    `domain` it holds indices into the dataset's `domains`. `draw` is that of the setting `partitioned`; `images`
    says how many of each step's training images are used.
    """

    name: str
    dataset: str
    setting: Setting
    steps: tuple[tuple[int, ...], ...]
    draw: int = 0
    images: Share = ALL

    @property
    def learned(self) -> tuple[int, ...]:
        """Everything learned after the last step, in learning order."""
        return tuple(item for step in self.steps for item in step)


def parse_name(name: str) -> tuple[str, int, int]:
    """(`voc`, 15, 1) from `voc_15-1`."""
    dataset = max((known for known in dataset_names() if f"{name}_".startswith(f"{known}_")), key=len, default="")
    if not dataset:
        raise unknown_name("scenario", name, published_scenarios())
    match = re.fullmatch(r"([1-9]\d{0,5})-([1-9]\d{0,5})", name.removeprefix(f"{dataset}_"), re.ASCII)
    if match is None:
        example = (*dataset_class(dataset).published_splits, "4-1")[0]
        raise ScenarioError(
            f"scenario {name!r}: after {dataset}_ comes BASE-INC, the number of classes (or domains) of the "
            f"first and of each later step, as in {dataset}_{example}"
        )
    return dataset, int(match[1]), int(match[2])


def published_scenarios() -> list[str]:
    """The usual scenarios of all datasets."""
    return [f"{name}_{split}" for name, dataset in dataset_classes().items() for split in dataset.published_splits]


def default_setting(name: str) -> str:
    """The setting in which a scenario is usually run."""
    dataset, base, increment = parse_name(name)
    kind = dataset_class(dataset)
    return kind.split_settings.get(f"{base}-{increment}", kind.default_setting)


def canonical_setting(setting: str) -> str:
    """A setting in one spelling: without the draw where that is 0."""
    kind, draw = parse_setting(setting)
    return f"{kind}:{draw}" if draw else kind


def parse_setting(setting: str) -> tuple[Setting, int]:
    """The kind of a setting and its draw, which `partitioned:SEED` alone may name. ScenarioError for a setting that
    does not exist, and for a draw that is not a whole number."""
    name, colon, text = setting.partition(":")
    kind = next((known for known in SETTINGS if name == known), None)
    if kind is None:
        raise unknown_name("setting", setting, SETTINGS)
    if not colon:
        return kind, 0
    if kind != "partitioned":
        raise ScenarioError(f"setting {setting!r}: {kind} draws nothing; write {kind}")
    return kind, parse_draw(text, f"setting {setting!r}", "partitioned:3")


def make_scenario(
    name: str,
    dataset: Dataset,
    setting: str,
    order: str = NATURAL,
    classes: tuple[str, ...] = (),
    images: str = "1",
) -> Scenario:
    """The scenario `name` on a dataset. `classes` restricts it to some classes, in this learning order, `images` to
    a fraction of the training images (`0.3`, or `0.3:7` for another draw)."""
    kind, draw = parse_setting(setting)
    _, base, increment = parse_name(name)
    if kind == "domain":
        if not dataset.domains:
            raise ScenarioError(f"dataset {dataset.name} has no domains; use --setting overlapped or disjoint")
        if classes:
            raise ScenarioError("--classes chooses classes; in the setting domain every step has all of them")
        names = {domain: index for index, domain in enumerate(dataset.domains)}
    else:
        names = {class_name: label for label, class_name in enumerate(dataset.classes, start=1)}
        for class_name in classes:
            if class_name not in names:
                raise unknown_name(f"class of {dataset.name}", class_name, names)
        if len(set(classes)) != len(classes):
            raise ScenarioError(f"--classes {','.join(classes)} names a class twice")
    natural = tuple(names[c] for c in classes) if classes else tuple(names.values())
    learned = resolve_order(order, dataset.orders, natural, names)
    return Scenario(name, dataset.name, kind, _split(name, learned, base, increment), draw, parse_share(images))


def check_split(scenario: Scenario) -> str:
    """What to tell of a split that does not fit the number of classes; nothing where it fits. ScenarioError where
    all are learned at the first step."""
    _, _, increment = parse_name(scenario.name)
    sizes = [len(step) for step in scenario.steps]
    if len(sizes) == 1:
        raise ScenarioError(
            f"scenario {scenario.name} learns all {sizes[0]} classes or domains at its first step, so nothing is "
            f"left for a later one; begin with fewer, as in {scenario.dataset}_{max(1, sizes[0] - 1)}-1"
        )
    if sizes[-1] == increment:
        return ""
    return (
        f"{scenario.name}: the last of {len(sizes)} steps has {sizes[-1]} of {increment} classes or domains, "
        f"because there are {sum(sizes)}"
    )


def _split(name: str, items: tuple[int, ...], base: int, increment: int) -> tuple[tuple[int, ...], ...]:
    """The first `base` items, then `increment` at a time; the last step has what remains."""
    if base > len(items):
        raise ScenarioError(f"scenario {name} starts with {base} classes or domains, but there are {len(items)}")
    later = range(base, len(items), increment)
    return (items[:base], *(items[i : i + increment] for i in later))
