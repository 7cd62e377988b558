"""Class orders: by a name that the dataset knows, given literally or in a file, or drawn from a seed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.errors import ScenarioError

NATURAL = "natural"
_AROUND = " \t\r[](){}'\""


def canonical_order(order: str, dataset: str, setting: str, classes: tuple[str, ...]) -> str:
    """An order in one spelling, so that the experiment no longer depends on a file: the list that a file holds, as
    `3,1,2`, and `natural` for a name of the same order. Whether it fits is checked where it is resolved."""
    named = dataset_class(dataset).orders if setting != "domain" and not classes else {}
    if order in named:
        return NATURAL if list(named[order]) == sorted(named[order]) else order
    if order == NATURAL or order.startswith("random:"):
        return order
    parts = [" ".join(part.strip(_AROUND).split()) for part in re.split(r"[,;\n]+", _read(order))]
    numbers = [part.replace(" ", ",") if part.replace(" ", "").isdecimal() else part for part in parts]
    return ",".join(filter(None, numbers))


def resolve_order(
    order: str, named: Mapping[str, tuple[int, ...]], natural: tuple[int, ...], names: dict[str, int]
) -> tuple[int, ...]:
    """The items of `natural` in learning order.

    `order` is `natural`, a name in `named` (`A` … `E`, for all classes of VOC), `random:SEED`, a literal list of
    numbers or names separated by commas or spaces, or the path of a file that holds such a list. A leading 0 (the
    background) may be written and is skipped where 0 is not an item. Raises ScenarioError when the list is not a
    permutation of `natural`.
    """
    if order == NATURAL:
        return natural
    if order in named:
        return _check(named[order], natural, order)
    if order.startswith("random:"):
        seed = order.removeprefix("random:")
        if not seed.isdecimal():
            raise ScenarioError(f"order {order!r}: the seed must be a whole number, as in random:3")
        import numpy as np  # late, like all that is slow to import: lists and help texts must not wait for it

        shuffled = np.random.Generator(np.random.PCG64(int(seed))).permutation(len(natural))
        return tuple(natural[i] for i in shuffled)
    return _check(_parse(order, natural, names, tuple(named)), natural, order)


def _parse(order: str, natural: tuple[int, ...], names: dict[str, int], named: tuple[str, ...]) -> tuple[int, ...]:
    # A name may hold spaces, so what stands between two commas is tried as a whole first.
    parts = [part.strip(_AROUND) for part in re.split(r"[,;\n]+", _read(order))]
    tokens = [token for part in parts for token in ([part] if part in names else part.split())]
    items: list[int] = []
    for token in (token.strip(_AROUND) for token in tokens):
        if token in names:
            items.append(names[token])
        elif token.isdecimal():
            items.append(int(token))
        elif token:
            raise ScenarioError(
                f"order {order!r}: {token!r} is neither a number nor a known name; give "
                f"{', '.join((NATURAL, *named))}, random:SEED, a permutation such as "
                f"{','.join(map(str, natural[:3]))},…, or a file that holds one"
            )
    return tuple(items[1:] if items[:1] == [0] and 0 not in natural else items)


def _read(order: str) -> str:
    """The text of the file that `order` names, or `order` itself where there is none."""
    path = Path(order)
    try:
        if not path.is_file():
            return order
    except OSError:  # a literal list may be longer than a file name can be
        return order
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"the order in {path} cannot be read as text: {error}") from None


def _check(items: tuple[int, ...], natural: tuple[int, ...], order: str) -> tuple[int, ...]:
    if sorted(items) == sorted(natural):
        return items
    twice = sorted({item for item in items if items.count(item) > 1})
    problems = [
        f"{text} {', '.join(map(str, found))}"
        for text, found in (
            ("it lacks", sorted(set(natural) - set(items))),
            ("it repeats", twice),
            ("it has the unknown", sorted(set(items) - set(natural))),
        )
        if found
    ]
    raise ScenarioError(
        f"order {order!r} is not a permutation of the scenario's {len(natural)} classes or domains "
        f"({min(natural)}–{max(natural)}): {'; '.join(problems)}"
    )
