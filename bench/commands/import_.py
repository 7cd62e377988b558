"""`bench import`: results of other code bases beside ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from issbench.bench.commands.support.options import SETTING
from issbench.bench.commands.support.printing import print_tables


def import_results(
    format: Annotated[
        Literal["plop"], typer.Argument(help="plop: the CSV per step and class that PLOP and RCIL write.")
    ],
    file: Annotated[Path, typer.Argument(help="The file with the results.")],
    method: Annotated[str, typer.Option(help="The method's name in tables; it is marked as imported.")],
    scenario: Annotated[str, typer.Option(help="DATASET_BASE-INC, such as voc_10-1.")],
    setting: Annotated[str, typer.Option(help=f"{SETTING}; the file does not say.")],
    order: Annotated[str, typer.Option(help="Class order, as for `bench run`.")] = "natural",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Its number among runs of one method.")] = 0,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Evaluation protocol of the numbers.", show_default="the format's own: plop, or released"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Make a run of the results of another code base, and print its table."""
    from issbench.bench.commands.support.importing import Imported, imported_record, save_imported
    from issbench.results.plop_csv import read_plop
    from issbench.results.runs import RecordError, load_run
    from issbench.scenarios.protocol import get_protocol
    from issbench.scenarios.scenario import canonical_setting

    if not re.fullmatch(r"[\w.*+-]+", method):
        raise RecordError(f"--method {method!r}: give a name of letters, digits and . * + - _, such as RCIL")
    setting = canonical_setting(setting)
    # The released code's domains come with its own 80/20 split of the images.
    found = get_protocol(protocol or ("released" if setting == "domain" else "plop"), setting)
    what = Imported(method, scenario, setting, order, seed, found)
    steps = read_plop(file, what.channels_per_step())
    folder = save_imported(out, imported_record(steps, what, file, format))
    typer.echo(f"imported {len(steps)} steps of {file.name} as {folder}")
    print_tables([load_run(out, folder.name)], "terminal")
