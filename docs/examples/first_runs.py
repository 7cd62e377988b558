"""Two methods on scenes that are drawn on the fly, from Python: train, look at the numbers, save a table.

    python docs/examples/first_runs.py

The recipe is cut down so that this takes seconds on a CPU, and the numbers mean nothing; leave `recipe` and
`images` out for the real ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

from issbench import Experiment, load_results, run

QUICK = {"epochs": 1, "first_epochs": 2, "crop": 32, "aspp_channels": 16}


def main(out: Path) -> None:
    """Train into the run store `out`; what is there already is not computed again."""
    experiments = [
        Experiment(method, "shapes_4-4", seed=0, images="0.1", recipe=QUICK) for method in ("ft", "plop")
    ]
    records = run(experiments, out=out, progress=True)
    for record in records:
        last = record["steps"][-1]["metrics"]["miou"]
        print(f"{record['method']['title']}: {last['all']:.1f} % mIoU over all classes after the last step")

    frame = load_results(str(out)).frame()
    last = frame[frame.last_step]
    table = last.pivot_table(index="method", columns="group", values="miou")
    print(table.round(1))
    table.to_csv(out / "table.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
