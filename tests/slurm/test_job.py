"""What a job leaves for others to read."""

from pathlib import Path

import pytest

from issbench.bench.launching.profile import Settings
from issbench.bench.outcome import read_outcome, write_outcome
from issbench.slurm.job import Job


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(str(tmp_path / "runs"), "cpu", 0, 60.0, False)


def test_a_run_whose_first_step_failed_fails_at_once_with_its_reason(tmp_path, settings, capsys):
    first, own = tmp_path / "first.json", tmp_path / "own.json"
    write_outcome(first, "failed", "the loss became nan")
    assert Job({}, settings, first=str(first)).run(own) == "failed"
    outcome = read_outcome(own)
    assert (outcome.state, outcome.reason) == ("failed", "its first step failed: the loss became nan")
    assert capsys.readouterr().out == "failed: its first step failed: the loss became nan\n"
    assert not (tmp_path / "runs").exists()


def test_of_several_processes_the_first_that_fails_gives_the_reason(tmp_path, settings):
    outcome = tmp_path / "outcome.json"
    write_outcome(outcome, "running")
    for rank in (3, 2):
        assert Job({"rank": rank}, settings).run(outcome, rank) == "failed"
    assert read_outcome(outcome).reason == "process 3: KeyError: 'method'"


def test_a_job_that_is_requeued_does_not_keep_its_old_reason(tmp_path, settings):
    outcome = tmp_path / "outcome.json"
    write_outcome(outcome, "failed", "a node without its GPU")
    assert Job({}, settings).run(outcome) == "failed"
    assert read_outcome(outcome).reason == "KeyError: 'method'"
