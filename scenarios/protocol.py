"""Evaluation protocols: what the published numbers of this field silently disagree about, as one named value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from issbench.scenarios.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How labels, test images and means are read. Recorded with every run; never mixed in one column."""

    name: str
    void: Literal["ignore", "background"] = "ignore"
    """Void pixels (255) of training labels."""
    future: Literal["background", "ignore"] = "background"
    """Pixels of classes that are still to come, in the test labels of a step."""
    test_images: Literal["seen", "all"] = "seen"
    """Test images of a step: those with at least one class seen so far, or all."""
    other_in_mean: bool = True
    """Whether ADE20K's class 0 ("other") counts in the mean over all classes."""
    absent: Literal["skip", "zero"] = "skip"
    """A class that the test images do not hold: left out of the means, or counted as 0."""
    domain_split: Literal["official", "released"] = "official"
    """Test images of domain-incremental scenarios: the official ones, or the released code's 80/20 split of
    the images, drawn anew for each list of domains, so that later tests hold images already trained on."""

    def summary(self) -> str:
        """One line for the foot of a table."""
        return (
            f"protocol {self.name}: void pixels in training {_PLAIN[self.void]}; classes to come in the test "
            f"{_PLAIN[self.future]}; test images of a step: {_PLAIN[self.test_images]}; class 0 of ADE20K "
            f"{'in' if self.other_in_mean else 'not in'} the mean; absent classes {_PLAIN[self.absent]}; "
            f"domain tests: {_PLAIN[self.domain_split]}"
        )


_PLAIN = {
    "ignore": "ignored",
    "background": "are background",
    "seen": "those with a class seen so far",
    "all": "all",
    "skip": "left out",
    "zero": "count 0",
    "official": "official images",
    "released": "released 80/20 split (overlaps with training)",
}

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="plop"),
        Protocol(name="mib", void="background", future="ignore", other_in_mean=False),
        Protocol(name="ssul", future="ignore", test_images="all", absent="zero"),
        Protocol(name="official"),
        Protocol(name="released", domain_split="released"),
    )
}


def get_protocol(name: str | None, setting: str) -> Protocol:
    """A preset by name; without a name `official` for domain-incremental scenarios and `plop` for the others."""
    name = name or ("official" if setting == "domain" else "plop")
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
