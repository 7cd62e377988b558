"""A launcher of another package: one file and one line, and all commands know it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.launching.launcher import Launcher, load_launcher
from issbench.errors import UsageError

INLINE = '''
from dataclasses import replace
from pathlib import Path

from issbench.bench.outcome import read_outcome
from issbench.slurm.job import Job
from issbench.bench.launching.launcher import Cancelled, Launcher, Submitted
from issbench.bench.launching.submissions import jobs_dir, new_submission, outcome_path, save_submission, submitting


class Inline(Launcher):
    """Carries out one run after the other, in this process."""

    name = "inline"

    def check(self, device):
        pass

    def device(self, device, profile):
        import torch

        return torch.device("cpu")

    def describe(self, plans, store, request):
        return [f"inline: {len(plans)} runs on {request.profile.partition}"]

    def submit(self, plans, store, request, report):
        with submitting(store.root):
            submission = new_submission(store.root, self.name, plans, request)
            runs = tuple(replace(run, job=f"j{number}") for number, run in enumerate(submission.runs))
            submission = replace(submission, runs=runs)
            save_submission(store.root, submission)
        failures = {}
        for run in runs:
            outcome = outcome_path(jobs_dir(store.root, submission.name), run.job)
            if Job(run.experiment, request.settings).run(outcome) == "failed":
                failures[run.run] = read_outcome(outcome).reason
        return Submitted(submission, failures=failures)

    def states(self, out, entries):
        return {}

    def cancel(self, out, chosen, others):
        return Cancelled()
'''
ASKED = ["--scenario", "shapes_4-4", "--set", "first_epochs=1", "--set", "epochs=1", "--set", "crop=32"]


@pytest.fixture
def inline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a launcher, and a folder to work in."""
    package = tmp_path / "site"
    (package / "inline-1.0.dist-info").mkdir(parents=True)
    (package / "inline-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: inline\nVersion: 1.0\n"
    )
    line = "inline = inline_launcher:Inline"
    (package / "inline-1.0.dist-info" / "entry_points.txt").write_text(f"[issbench.launchers]\n{line}\n")
    (package / "inline_launcher.py").write_text(INLINE)
    monkeypatch.syspath_prepend(package)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("inline_launcher", None)


def bench(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None:
        raise result.exception
    return result.output


def test_ours_are_found_by_name():
    for name in ("slurm", "local"):
        launcher = load_launcher(name)
        assert isinstance(launcher, Launcher) and launcher.name == name
    with pytest.raises(UsageError, match=r"unknown launcher 'loca'; did you mean local\?"):
        load_launcher("loca")


def test_a_launcher_of_a_package_runs_and_is_asked(inline):
    asked = ["sweep", "--methods", "ft,mib:distillation=1e39", *ASKED, "--launcher", "inline"]
    assert "inline: 2 runs on gpu" in bench(*asked, "--partition", "gpu", "--dry-run")
    error = CliRunner().invoke(app, asked).exception
    assert "1 of 2 runs failed" in str(error) and "mib:distillation=1e+39 shapes_4-4" in str(error)
    shown = bench("status")
    assert "2 runs: 1 failed, 1 done" in shown and "the term distillation of mib became" in shown
    error = CliRunner().invoke(app, ["retry"]).exception
    assert "1 of 1 runs failed" in str(error)
    assert "no job of sweep-1 waits or runs" in bench("cancel", "sweep-1")
