"""Protocols: every preset is what its code base does, and no preset can be changed unnoticed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from issbench.scenarios.errors import ScenarioError
from issbench.scenarios.protocol import PROTOCOLS, Protocol, get_protocol

PLOP = {
    "void": "ignore",
    "future": "background",
    "test_images": "seen",
    "other_in_mean": True,
    "absent": "skip",
    "domain_split": "official",
}
MIB = PLOP | {"void": "background", "future": "ignore", "other_in_mean": False}
SSUL = PLOP | {"future": "ignore", "test_images": "all", "absent": "zero"}
PRESETS = {
    "plop": PLOP,
    "mib": MIB,
    "ssul": SSUL,
    "official": PLOP,
    "released": PLOP | {"domain_split": "released"},
}
OTHER = MIB | {"test_images": "all", "absent": "zero", "domain_split": "released"}  # unlike PLOP everywhere


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    for setting in ("overlapped", "disjoint", "domain"):
        assert asdict(get_protocol(name, setting)) == {"name": name} | PRESETS[name]


def test_there_are_no_other_presets() -> None:
    assert set(PROTOCOLS) == set(PRESETS)
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


@pytest.mark.parametrize("setting, name", [("overlapped", "plop"), ("disjoint", "plop"), ("domain", "official")])
def test_defaults(setting: str, name: str) -> None:
    assert get_protocol(None, setting) == PROTOCOLS[name]


def test_unknown_protocol() -> None:
    with pytest.raises(ScenarioError, match=r"^unknown protocol 'realeased'; did you mean released\?$") as info:
        get_protocol("realeased", "overlapped")
    assert info.value.exit_code == 2
    with pytest.raises(ScenarioError, match=r"known: plop, mib, ssul, official, released$"):
        get_protocol("###", "domain")


@pytest.mark.parametrize("field, value", OTHER.items())
def test_frozen(field: str, value: object) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(PROTOCOLS["plop"], field, value)
    assert asdict(PROTOCOLS["plop"]) == {"name": "plop"} | PLOP


@pytest.mark.parametrize("field, value", OTHER.items())
def test_the_summary_tells_every_difference(field: str, value: object) -> None:
    plain = Protocol(name="mine")
    assert plain.summary().startswith("protocol mine: ")
    assert "\n" not in plain.summary()
    assert replace(plain, **{field: value}).summary() != plain.summary()


def test_the_summary_warns_of_the_released_split() -> None:
    assert "overlaps with training" in PROTOCOLS["released"].summary()
    assert "overlaps" not in PROTOCOLS["official"].summary()
