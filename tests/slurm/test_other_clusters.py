"""Submitting to clusters whose commands answer otherwise than the test cluster's: programs that play them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.launching.submissions import load_submissions
from issbench.errors import RunError

Plays = Callable[..., Path]
LIMIT = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.fixture
def plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plays:
    """Put programs in the place of Slurm's: sbatch numbers its jobs from 101 and prints `prints` of each, or fails;
    arrays may have `size` jobs. Gives the file in which the scripts are that sbatch got."""

    def play(prints: str = "Submitted batch job $n", fails: str = "", size: int = 1001) -> Path:
        place = tmp_path / "bin"
        place.mkdir(exist_ok=True)
        number = (
            f"n=$(cat {place}/n 2>/dev/null || echo 100); n=$((n + 1)); echo $n > {place}/n; cat $1 >> {place}/got"
        )
        sbatch = f'echo "{fails}" >&2; exit 1' if fails else f'{number}; printf "{prints}\\n"'
        programs = {
            "sbatch": sbatch,
            "scontrol": f"echo MaxArraySize = {size}",
            "squeue": "",
            "srun": "",
            "sacct": "",
        }
        for name, text in programs.items():
            (place / name).write_text(f"#!/bin/bash\n{text}\n")
            (place / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
        monkeypatch.chdir(tmp_path)
        return place / "got"

    return play


def sweep(*more: str) -> str:
    words = ["sweep", "--methods", "ft,mib,lwf", "--scenario", "shapes_4-4", "--slurm", "--gpus", "0", *more]
    result = CliRunner().invoke(app, words)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.mark.parametrize(
    "prints",
    [
        "Submitted batch job $n on cluster alpha2",
        "$n",
        "Welcome to job 7 of the day\\n--> OK\\nSubmitted batch job $n",
    ],
)
def test_the_number_of_a_job_is_found_in_what_sbatch_prints(plays, tmp_path, prints):
    plays(prints)
    assert "submitted 3 runs as sweep-1: 4 jobs in 2 arrays" in sweep()
    (submission,) = load_submissions(tmp_path / "runs")
    assert [(run.first_job, run.job) for run in submission.runs] == [("101", f"102_{n}") for n in range(3)]


def test_arrays_are_no_longer_than_the_cluster_takes(plays):
    scripts = plays(size=2)
    assert "submitted 3 runs as sweep-1: 4 jobs in 3 arrays" in sweep("--max-parallel", "2")
    lines = [line for line in scripts.read_text().splitlines() if "--array" in line or "--dependency" in line]
    assert lines == [
        "#SBATCH --array=0-1%2",
        "#SBATCH --dependency=afterany:101",
        "#SBATCH --dependency=afterany:101:102",
    ]


def test_a_cluster_without_arrays_takes_single_jobs(plays):
    scripts = plays(size=0)
    assert "submitted 3 runs as sweep-1: 4 jobs in 4 arrays" in sweep()
    assert "--array" not in scripts.read_text()


def test_a_limit_of_jobs_is_explained(plays, tmp_path):
    plays(fails=f"sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: {LIMIT}")
    with pytest.raises(RunError) as refused:
        sweep()
    message = (
        f"Slurm took no job: Batch job submission failed: {LIMIT}; when some jobs have ended, the same command"
    )
    assert str(refused.value).startswith(message)
    assert load_submissions(tmp_path / "runs") == []
