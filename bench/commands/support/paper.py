"""The sweeps behind the paper's tables: what was run, read off the numbers that they print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from issbench.errors import UsageError
from issbench.results.published import TABLES, published
from issbench.scenarios.orders import NATURAL

if TYPE_CHECKING:
    from issbench.results.published import Number

PARTS = ("pr", "sg", "sr", "sc")
_LAMBDAS = ("lambda1", "lambda2")


@dataclass(frozen=True)
class PaperTable:
    """What a table of the paper crosses: each method in each scenario, setting and order."""

    number: str
    methods: tuple[str, ...]
    scenarios: tuple[str, ...]
    settings: tuple[str, ...]
    orders: tuple[str, ...]

    @property
    def variants(self) -> bool:
        """Whether its rows are variants of one method."""
        return any(":" in spec for spec in self.methods)


def paper_table(number: str) -> PaperTable:
    """The sweep behind a table, `I` … `VIII`."""
    numbers = published(number)
    orders = dict.fromkeys(n.order or NATURAL for n in numbers if n.order != "average")
    return PaperTable(
        number,
        tuple(dict.fromkeys(_spec(n) for n in numbers)),
        tuple(dict.fromkeys(f"{n.dataset}_{n.scenario}" for n in numbers)),
        tuple(dict.fromkeys(n.setting for n in numbers)),
        tuple(orders),
    )


def table_numbers(text: str) -> tuple[str, ...]:
    """The tables of `VI`, `I,II`, or a name of `bench table` such as `main`; UsageError for others."""
    from issbench.results.definitions import DEFINITIONS

    found: dict[str, None] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        printed = DEFINITIONS[name].printed if name in DEFINITIONS else (name.upper(),)
        if not printed or printed[0] not in TABLES:
            names = [each.name for each in DEFINITIONS.values() if {*each.printed} & {*TABLES}]
            raise UsageError(f"--table {name}: the paper's are {', '.join(TABLES)}, or {', '.join(names)}")
        found |= dict.fromkeys(printed)
    if not found:
        raise UsageError(f"--table names none; the paper's are {', '.join(TABLES)}")
    return tuple(found)


def table_name(number: str) -> str:
    """The name under which `bench table` prints a table of the paper."""
    from issbench.results.definitions import DEFINITIONS

    return next(each.name for each in DEFINITIONS.values() if number in each.printed)


def ablation() -> tuple[dict[str, str], ...]:
    """The twelve combinations of Table V as options of a method with the four switches."""
    rows = {n.facts["row"]: _switched_off(n) for n in published("V")}
    return tuple(rows.values())


def _spec(number: Number) -> str:
    """The method of a printed number, with its options in Tables V and VII."""
    facts = number.facts
    if PARTS[0] in facts:
        off = _switched_off(number)
        if len(off) == len(PARTS):
            return "plop"  # as the row is called; also what GSC without its parts is
        return "gsc" + ":" * bool(off) + ",".join(f"{key}={value}" for key, value in off.items())
    if _LAMBDAS[0] in facts:
        return "gsc:" + ",".join(f"{name}={float(facts[name]):g}" for name in _LAMBDAS)
    return number.method.removesuffix("*").lower()


def _switched_off(number: Number) -> dict[str, str]:
    return {part: "off" for part in PARTS if number.facts[part] == "0"}
