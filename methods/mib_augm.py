"""MiB-AugM: Kwak, Cha and Moon, Towards Realistic Incremental Scenario in Class Incremental Semantic Segmentation,
2024."""

from __future__ import annotations

from dataclasses import dataclass

from issbench.methods.mib import MiB, MiBOptions
from issbench.methods.parts.memory import Memory, MemoryOptions


@dataclass(frozen=True, kw_only=True)
class MiBAugMOptions(MemoryOptions, MiBOptions):
    """The options of MiB and of the memory."""


class MiBAugM(Memory, MiB):
    """MiB-AugM: MiB with a memory, whose images keep the labels of their own step."""

    name = "mib-augm"
    title = "MiB-AugM"
    table_order = 140
    colour, marker, dashes = "#E69F00", "d", "-."
    cite = "kwak2024towards"
    Options = MiBAugMOptions
    published = {"ade": {"memory": 300}}
