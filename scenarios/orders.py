"""Class orders: by a name that the dataset knows, given literally or in a file, or drawn from a seed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.errors import ScenarioError

NATURAL = "natural"
_AROUND = " \t\r[](){}'\""
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_MOST = 1_000_000
"""Characters of an order, which has a name for each class."""
_SHOWN = 200


def canonical_order(order: str, dataset: str, setting: str, classes: tuple[str, ...]) -> str:
    """An order in one spelling, so that the experiment no longer depends on a file: the list that a file holds, as
    `3,1,2`, and `natural` for a name of the same order. Whether it fits is checked where it is resolved."""
    named = dataset_class(dataset).orders if setting != "domain" and not classes else {}
    if order in named:
        return NATURAL if list(named[order]) == sorted(named[order]) else order
    if order == NATURAL or order.startswith("random:"):
        return order
    text = _read(order)
    if not text.strip(_AROUND + ",;\n"):
        raise ScenarioError(f"order {_short(order)} names no class; write a permutation such as 3,1,2")
    return ",".join(filter(None, map(_spelled, re.split(r"[,;\n]+", text))))


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
        if not re.fullmatch(r"\d{1,18}", seed, re.ASCII):
            raise ScenarioError(f"order {_short(order)}: the seed must be a whole number, as in random:3")
        import numpy as np  # late, like all that is slow to import: lists and help texts must not wait for it

        shuffled = np.random.Generator(np.random.PCG64(int(seed))).permutation(len(natural))
        return tuple(natural[i] for i in shuffled)
    return _check(_parse(order, natural, names, tuple(named)), natural, order)


def _spelled(part: str) -> str:
    """What stands between two commas in one spelling. Only numbers lose their brackets, and blanks among
    them: a class may be named `bus  (small)`."""
    bare = part.strip(_AROUND).split()
    return ",".join(bare) if bare and all(map(_NUMBER.fullmatch, bare)) else part.strip()


def _parse(order: str, natural: tuple[int, ...], names: dict[str, int], named: tuple[str, ...]) -> tuple[int, ...]:
    known = {name.strip(_AROUND): item for name, item in names.items() if name.strip(_AROUND)} | names
    items: list[int] = []
    for token in _tokens(_read(order), known):
        if token in known:
            items.append(known[token])
        elif _NUMBER.fullmatch(token):
            items.append(int(token))
        elif token:
            raise ScenarioError(
                f"order {_short(order)}: {_short(token)} is neither a number nor a known name; give "
                f"{', '.join((NATURAL, *named))}, random:SEED, a permutation such as "
                f"{','.join(map(str, natural[:3]))},…, or a file that holds one; a class whose name has a comma "
                "goes by its number"
            )
    return tuple(items[1:] if items[:1] == [0] and 0 not in natural else items)


def _tokens(text: str, known: dict[str, int]) -> Iterator[str]:
    """Names and numbers of a list. A name may hold spaces and brackets, so what stands between two commas is tried
    as it is first, then without brackets and quotes around it, then word by word."""
    for part in re.split(r"[,;\n]+", text):
        whole = next((each for each in (part.strip(), part.strip(_AROUND)) if each in known), None)
        yield from [whole] if whole is not None else (word.strip(_AROUND) for word in part.split())


def _short(text: str) -> str:
    """A text of the user in quotes, cut where it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _read(order: str) -> str:
    """The text of the file that `order` names, or `order` itself where there is none."""
    path = Path(order)
    try:
        if not path.is_file():
            return order
    except (OSError, ValueError):  # a literal list may be longer than a file name can be, or hold other signs
        return order
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_MOST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"the order in {path} cannot be read as text: {error}; save it as UTF-8") from None
    if len(text) > _MOST:
        raise ScenarioError(f"the order in {path} is longer than {_MOST:,} characters; is it a list of classes?")
    return text


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
        f"order {_short(order)} is not a permutation of the scenario's {len(natural)} classes or domains "
        f"({min(natural)}–{max(natural)}): {'; '.join(problems)}"
    )
