"""Experiments as a file: what `bench run FILE.toml` carries out, in one place that can be reviewed and kept under
version control. Needs no torch.

    methods = ["ft", "plop", "gsc:lambda1=0.5"]
    scenarios = ["voc_15-1"]
    seeds = [0, 1, 2]
    data = "DATA"

    [recipe]
    epochs = 3
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from issbench.bench.experiment import Experiment, parse_method
from issbench.bench.recipe import make_recipe
from issbench.bench.sweep import Sweep, union
from issbench.errors import UsageError, did_you_mean
from issbench.files import read_toml
from issbench.methods.interface.numbers import SEEDS
from issbench.methods.interface.options import parse_value
from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.draws import parse_share
from issbench.scenarios.orders import NATURAL, canonical_order
from issbench.scenarios.protocol import get_protocol
from issbench.scenarios.scenario import canonical_setting, parse_name
from issbench.wellformed import misfit, short

_PRODUCT: dict[str, tuple[Any, str]] = {
    "methods": (list[str], '["ft", "plop"]'),
    "scenarios": (list[str], '["voc_15-1"]'),
    "settings": (list[str], '["overlapped"]'),
    "orders": (list[str], '["natural", "random:1"]'),
    "seeds": (list[int], "[0, 1, 2]"),
}
"""What is combined, each with each: the type of each key, and an example. These are the fields of `Sweep`."""
_COMMON: dict[str, tuple[Any, str]] = {
    "classes": (list[str], '["cat", "dog"]'),
    "images": (str | float, "0.3"),
    "protocol": (str, '"plop"'),
    "metrics": (list[str], '["boundary-iou"]'),
    "data": (str, '"DATA"'),
    "allow-leak": (bool, "true"),
    "recipe": (dict[str, Any], "a table [recipe] with lines such as epochs = 3"),
}
"""What all of them share."""
_SWEEPS = "sweeps"
"""In place of the keys of one product: a list of several."""
_DELETE, _ESCAPED = "\x7f", "\\u007f"  # which JSON leaves as it is, and TOML does not take
_HEAD = "# Experiments of issbench: `bench run` with the name of this file carries them out.\n"


@dataclass(frozen=True)
class ExperimentFile:
    """What a file asks for: products of methods, scenarios and so on, and what all of them share, as `Experiment`
    takes it."""

    sweeps: tuple[Sweep, ...]
    common: Mapping[str, Any]

    def experiments(self) -> list[Experiment]:
        """The experiments, each once. UsageError for names that do not exist."""
        return union(self.sweeps, **self.common)

    def text(self) -> str:
        """The file. Options of `--grid` and the like stand in the methods, an order's file becomes its list, and
        settings of the recipe have their types."""
        scenario, common = self.sweeps[0].scenarios[0], {**self.common}
        recipe = make_recipe(scenario, given) if (given := dict(common.pop("recipe", None) or {})) else None
        lines = [_HEAD]
        products = [self._product(sweep) for sweep in self.sweeps]
        if len(products) == 1:
            lines += _lines(products[0])
        shared = {name.replace("_", "-"): value for name, value in common.items()} | {
            "data": common.get("data") and str(common["data"]),
            "images": None if common.get("images") == "1" else common.get("images"),
        }
        lines += _lines(shared)
        if recipe is not None:
            typed = {name: value if name == "base" else getattr(recipe, name) for name, value in given.items()}
            lines += ["", "[recipe]", *_lines(typed)]
        for product in products if len(products) > 1 else ():
            lines += ["", f"[[{_SWEEPS}]]", *_lines(product)]
        return "\n".join(lines) + "\n"

    def _product(self, sweep: Sweep) -> dict[str, Any]:
        (scenario, *_), (setting, *_) = sweep.scenarios, sweep.settings
        classes, dataset = tuple(self.common.get("classes") or ()), parse_name(scenario)[0]
        orders = [canonical_order(order, dataset, setting, classes) for order in sweep.orders]
        settings = () if sweep.settings == ("",) else sweep.settings
        plain = {**asdict(sweep), "methods": sweep.specs(), "settings": settings}
        return {name: plain[name] for name in _PRODUCT} | {"orders": () if orders == [NATURAL] else orders}


def read_experiments(path: Path, data: Path | None = None) -> list[Experiment]:
    """The experiments of a file; `data` in place of the directory that it names. UsageError, which names the file,
    the key and the remedy, for what is unknown or of the wrong kind."""
    facts = _typed(
        read_toml(path, "experiment file"), str(path), _PRODUCT | _COMMON | {_SWEEPS: (list[Any], _SWEEPS)}
    )
    if data is not None:
        facts["data"] = str(data)
    products = facts.pop(_SWEEPS, None)
    own = {name: facts.pop(name) for name in _PRODUCT if name in facts}
    if products is None:
        sweeps: tuple[Sweep, ...] = (_sweep(own, str(path)),)
    else:
        if own:
            raise UsageError(f"{path}: {next(iter(own))} stands beside [[{_SWEEPS}]]; put it into each of them")
        sweeps = tuple(
            _sweep(_typed(each, f"{path}: {_SWEEPS}[{place}]", _PRODUCT), f"{path}: {_SWEEPS}[{place}]")
            for place, each in enumerate(products)
        )
    if not sweeps:
        raise UsageError(f"{path}: {_SWEEPS} is empty; give methods and scenarios")
    _check_common(facts, sweeps[0], str(path))
    common = {name.replace("-", "_"): value for name, value in facts.items()}
    with _named(str(path)):
        return ExperimentFile(sweeps, common).experiments()


def _typed(facts: Any, where: str, known: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    """A table of the file by the names of its keys. UsageError for unknown keys and values of another type."""
    if not isinstance(facts, dict):
        raise UsageError(f"{where} is {short(facts)}, not a table; write {_written(_SWEEPS, '')}")
    found = {name.replace("_", "-"): value for name, value in facts.items()}
    for name, value in found.items():
        if name not in known:
            hint = did_you_mean(name, known, f"it may hold {', '.join(known)}", cutoff=0.6)
            raise UsageError(f"{where}: unknown key {name!r}; {hint}")
        kind, example = known[name]
        empty = value == "" or (value == [] and name in _PRODUCT)
        fault = misfit(value, kind, "") or ("is empty" if empty else None)
        if fault:
            raise UsageError(
                f"{where}: {name}{' ' * (fault[0] not in ' [.')}{fault}; write {_written(name, example)}"
            )
    return found


def _written(name: str, example: str) -> str:
    if name == _SWEEPS:
        return f"[[{_SWEEPS}]] above the lines of each"
    return example if example.startswith("a ") else f"{name} = {example}"


def _sweep(facts: Mapping[str, Any], where: str) -> Sweep:
    for name in ("methods", "scenarios"):
        if name not in facts:
            raise UsageError(f"{where}: {name} is missing; write {name} = {_PRODUCT[name][1]}")
    checks = {"methods": parse_method, "scenarios": _check_scenario, "settings": canonical_setting,
              "seeds": lambda seed: parse_value("seed", int, seed, SEEDS)}  # fmt: skip
    for name, check in checks.items():
        with _named(f"{where}: {name}"):
            for value in facts.get(name, ()):
                check(value)
    return Sweep(**{name: tuple(value) for name, value in facts.items()})


def _check_scenario(name: str) -> None:
    dataset_class(parse_name(name)[0])


def _check_common(facts: Mapping[str, Any], sweep: Sweep, where: str) -> None:
    """UsageError, which names the key, for a share, a protocol or a recipe that cannot be."""
    checks = {
        "images": lambda value: parse_share(str(value)),
        "protocol": lambda value: get_protocol(value, sweep.settings[0] or "overlapped"),
        "recipe": lambda value: make_recipe(sweep.scenarios[0], value),
    }
    for name, check in checks.items():
        if name in facts:
            with _named(f"{where}: {name}"):
                check(facts[name])


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Put the file, and where it is known the key, before what is wrong."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _lines(facts: Mapping[str, Any]) -> Sequence[str]:
    """Lines of TOML for what is given. Its texts, numbers and lists of them are written as JSON's."""
    given = {name: value for name, value in facts.items() if value is not False and value not in (None, (), [])}
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in given.items()}
    return [f"{name} = {text.replace(_DELETE, _ESCAPED)}" for name, text in texts.items()]
