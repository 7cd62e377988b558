"""GSC: Cong et al., Gradient-Semantic Compensation for Incremental Semantic Segmentation."""

from __future__ import annotations

from dataclasses import dataclass

from issbench.methods.parts.pr import PR, PROptions
from issbench.methods.parts.sc import SC, SCOptions
from issbench.methods.parts.sg import SG, SGOptions
from issbench.methods.parts.sr import SR, SROptions
from issbench.methods.plop import PLOP, PLOPOptions


@dataclass(frozen=True, kw_only=True)
class GSCOptions(SCOptions, SROptions, SGOptions, PROptions, PLOPOptions):
    """The options of PLOP and of the four parts."""


class GSC(PR, SG, SR, SC, PLOP):
    """GSC: PLOP with prototype labels, step-aware gradient weights and soft-sharp relations (eq. 13)."""

    name = "gsc"
    title = "GSC"
    table_order = 130
    colour, marker, dashes = "#D55E00", "*", "-"
    cite = "cong2024gradient"
    Options = GSCOptions
