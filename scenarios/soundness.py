"""What is wrong with lists and labels as a whole, though each file for itself is sound."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from issbench.scenarios.datasets.base import IGNORE, SPLITS, Dataset
from issbench.scenarios.errors import DataError
from issbench.scenarios.presence import Presence, place_of, some_of
from issbench.scenarios.scenario import Scenario
from issbench.scenarios.views import training_rows

_CHANCE = 0.05
"""How unlikely it must be that 255 and a class keep apart by chance, for any of the classes, to be remarked."""


def list_faults(dataset: Dataset) -> list[str]:
    """What is wrong with the lists of samples, but for those that both splits list. Reads no image."""
    faults = []
    for split in SPLITS:
        place = place_of(dataset, split)
        try:
            counts = Counter(dataset.ids(split))
        except DataError as error:
            faults.append(str(error))
            continue
        if not counts:
            faults.append(f"{place} is empty; it needs at least one image")
        if several := [sample for sample, number in counts.items() if number > 1]:
            faults.append(
                f"{place} lists {len(several)} sample(s) more than once: {some_of(several)}; list each once"
            )
    return faults


def leaks(train: Presence, test: Presence) -> dict[str, str]:
    """The training images that are test images, too, by their ids: those that both lists name, and those whose file
    is a copy of a test image's. The values are the ids of the test images."""
    named = {sample: sample for sample in train.ids if sample in test.rows}
    copies = {image: sample for sample, image in zip(test.ids, test.images, strict=True) if image}
    found = ((s, copies[image]) for s, image in zip(train.ids, train.images, strict=True) if image in copies)
    return named | {sample: copy for sample, copy in found if sample not in named}


def leak_fault(train: Presence, found: Mapping[str, str]) -> str:
    """The `leaks` that were found in a sentence, with the remedy; empty where there are none."""
    if not found:
        return ""
    pairs = [sample if sample == copy else f"{sample} (a copy of {copy})" for sample, copy in found.items()]
    return (
        f"{len(pairs)} image(s) of {train.place} are test images, too: {some_of(pairs)}; take them out of one "
        "split, or pass --allow-leak to train on them all the same, which the record and the tables then say"
    )


def label_fault(dataset: Dataset, train: Presence, test: Presence) -> str:
    """Why the labels as a whole cannot be meant as they are, with the remedy; empty where all is well."""
    held = np.asarray(np.concatenate([train.table, test.table]).any(axis=0))
    ignored = bool(train.ignored.any() or test.ignored.any())
    if len(train.ids) and not held[1:].any():
        written = " and ".join(["0"] * bool(held[0]) + ["255"] * ignored)
        return (
            f"the labels of {dataset.name}{_where(dataset)} hold nothing but {written}, and so no class: "
            f"{'255 means ignore, so ' * ignored}write 1, 2 … for the classes"
        )
    values = frozenset(np.flatnonzero(held).tolist()) | ({IGNORE} if ignored else set())
    doubt = dataset.doubts(values)
    return f"the labels of {dataset.name}{_where(dataset)} cannot be meant as they are: {doubt}" if doubt else ""


def remarks(dataset: Dataset, train: Presence, test: Presence) -> list[str]:
    """What may be meant, but is worth a look."""
    found = []
    for split in (train, test):
        rows = np.flatnonzero(split.ignored & ~split.table.any(axis=1))
        if len(rows):
            names = some_of([split.ids[row] for row in rows])
            found.append(f"{len(rows)} label map(s) of {split.place} hold nothing but 255 (ignore): {names}")
    table, ignored = np.concatenate([train.table, test.table]), np.concatenate([train.ignored, test.ignored])
    for label in range(1, len(dataset.classes) + 1):
        holds = table[:, label]
        chance = _apart(len(table), int(holds.sum()), int(ignored.sum()))
        if not (holds & ignored).any() and chance < _CHANCE / len(dataset.classes):
            found.append(
                f"{holds.sum()} label maps of {dataset.name} hold {dataset.classes[label - 1]}, {ignored.sum()} "
                "hold 255 (ignore), and none holds both: 255 may have been written for that class in some of them"
            )
    return found


def _apart(number: int, first: int, second: int) -> float:
    """The probability that, of `number` images, `first` and `second` ones that are drawn have none in common."""
    if not first or not second or first + second > number:
        return 1.0
    counts = (number - first, number - second, number, number - first - second)
    a, b, c, d = (math.lgamma(count + 1) for count in counts)
    return math.exp(a + b - c - d)


def absent_classes(dataset: Dataset, table: np.ndarray) -> str:
    """The classes that no image of a presence table holds, for a message."""
    return _names(dataset, [label for label in range(1, len(dataset.classes) + 1) if not table[:, label].any()])


def unlearnable(dataset: Dataset, scenario: Scenario, step: int, train: Presence) -> str:
    """Why a class-incremental step has nothing to learn: none of its training images holds one of its classes.
    Empty where one does."""
    lacking = [] if scenario.setting == "domain" else _unseen(scenario, step, train)
    if len(lacking) < len(scenario.steps[step]):
        return ""
    hint = "; 255 in the label maps means ignore, and is no class" if train.ignored.any() else ""
    return (
        f"no training image of step {step} of {scenario.name} holds {_names(dataset, lacking)} in {train.place}: "
        f"choose --classes that the data have, or another split{hint}"
    )


def unlearned(dataset: Dataset, scenario: Scenario, train: Presence) -> str:
    """The classes that no training image of their step holds, in a sentence; empty where there are none."""
    steps = () if scenario.setting == "domain" else range(len(scenario.steps))
    lacking = [label for step in steps for label in _unseen(scenario, step, train)]
    if not lacking:
        return ""
    return (
        f"no training image of its step of {scenario.name} holds {_names(dataset, lacking)}: it cannot be learned; "
        "--classes leaves it out"
    )


def _unseen(scenario: Scenario, step: int, train: Presence) -> list[int]:
    """The classes of a step that none of its training images holds."""
    rows = training_rows(scenario, step, train)
    return [label for label in scenario.steps[step] if not train.table[rows][:, label].any()]


def untested(dataset: Dataset, scenario: Scenario, test: Presence) -> str:
    """The classes of a scenario that no test image holds, in a sentence; empty where there are none."""
    lacking = [] if scenario.setting == "domain" else [c for c in scenario.learned if not test.table[:, c].any()]
    if not lacking:
        return ""
    return f"no test image of {scenario.name} holds {_names(dataset, lacking)}: there will be no IoU for it"


def _names(dataset: Dataset, labels: Sequence[int]) -> str:
    return some_of([dataset.classes[label - 1] for label in labels])


def _where(dataset: Dataset) -> str:
    return f" in {dataset.root}" if dataset.root else ""
