"""The run store: results of steps under their keys, checkpoints inside a step, and one record per run.

OUT/store.json                   the format of the store
OUT/runs/RUN/run.json            the experiment and the records of its steps
OUT/runs/RUN/unfinished.json     the same of a run that is computed anew, as long as run.json holds a complete one
OUT/runs/RUN/plan.json           the keys of its steps, and what they were worked out from
OUT/runs/RUN/outcome.json        whether it is done or why it failed
OUT/runs/RUN/log.txt             what was printed
OUT/runs/RUN/progress.json       where its training is, as long as it lasts
OUT/steps/KEY/                   written once, atomically:
    seal.json                    the checksums of the files below
    identity.json                what the key is a hash of
    training.json                time, memory, environment, mean terms of the loss per epoch
    weights.safetensors          the network after the step
    method.safetensors           the method's state after the step
    evaluation-HASH.json         sums of the counts of a test, one file for each kind of counts
    evaluation-HASH.npz          the counts image by image
    state-HASH.safetensors       a method's state after a first step that it shares
OUT/steps/KEY.checkpoint         the state inside an unfinished step
OUT/steps/KEY.failed.json        why the last attempt at the step failed
OUT/steps/KEY.failed.safetensors its network and method (student.NAME, method.NAME), if NaN or infinity ended it:
                                 to look into, never read back. Both are removed when the step is finished
OUT/steps/KEY.lock               there while a process computes the step

Every file that is read back says what it belongs to and has a checksum. One that is damaged or foreign is renamed
to NAME.damaged and computed anew.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from issbench.bench.engine import distributed, stored
from issbench.bench.engine.checkpoint import Finds, nothing, read_checkpoint, write_checkpoint
from issbench.bench.engine.leftovers import remove_needless
from issbench.bench.engine.lock import LEASE, StoreLock
from issbench.bench.engine.stored import Evaluation
from issbench.bench.finished import Step, is_done
from issbench.bench.outcome import State, read_outcome, write_outcome
from issbench.bench.store_format import check_store, make_store
from issbench.errors import RunError, UsageError
from issbench.files import DamagedFile, retrying, set_aside, sha256_of, write_arrays, write_sealed, writing
from issbench.results.read_record import read_record
from issbench.results.record import FORMAT, Record, Training

T = TypeVar("T")


class StepDamaged(RunError):
    """A finished step that was damaged: it has been set aside, and is to be computed anew."""


_in_main = distributed.in_main
"""Among several processes the main one alone touches files."""


class Store:
    """The steps and runs under one directory. Every process calls its methods alike, and gets the same answers.

    UsageError for another format, RunError where it cannot be written; `look` leaves a directory that is not there
    alone, for those who only ask what is done. `note` is called with a line about each damaged file.
    """

    def __init__(self, root: str | Path, look: bool = False, note: Callable[[str], None] = lambda text: None):
        self.root, self._note = Path(root), note
        distributed.from_main(lambda: check_store(self.root) if look else make_store(self.root, note))

    def step_dir(self, key: str) -> Path:
        """Where a finished step lies."""
        return self.root / "steps" / key

    def run_dir(self, run: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / run

    def checkpoint_path(self, key: str) -> Path:
        """The checkpoint inside an unfinished step."""
        return self.root / "steps" / f"{key}.checkpoint"

    def lock(self, key: str, on_loss: Callable[[], None] = lambda: None, lease: float = LEASE) -> StoreLock:
        """The lock of a step, among all machines that share the store."""
        return StoreLock(self.root / "steps" / f"{key}.lock", on_loss, lease)

    # Steps

    @_in_main
    def has_step(self, key: str) -> bool:
        """Whether a step is finished."""
        return self._has(key)

    @_in_main
    def missing_steps(self, keys: Iterable[str]) -> set[str]:
        """Those of the steps that are not finished."""
        return {key for key in {*keys} if not self._has(key)}

    def _has(self, key: str) -> bool:
        return retrying(self.step_dir(key).is_dir, self.step_dir(key))

    @_in_main
    def save_step(
        self,
        key: str,
        identity: Mapping[str, Any],
        training: Mapping[str, Any],
        weights: Mapping[str, Tensor],
        state: Mapping[str, Tensor],
    ) -> None:
        """Write a finished step; it appears whole or not at all. Its checkpoint is no longer needed. Where another
        owner of a lost lock was faster, what it wrote stays."""
        steps = self.root / "steps"
        folder = steps / f".{key}.{uuid.uuid4().hex}"
        with writing(self.step_dir(key), stored.size_of(weights) + stored.size_of(state)):
            stored.remove_remains(steps, key)
            folder.mkdir()
            try:
                stored.write_step(folder, key, identity, training, weights, state)
                folder.rename(self.step_dir(key))
            except BaseException as error:
                shutil.rmtree(folder, ignore_errors=True)
                if not (isinstance(error, OSError) and self.step_dir(key).is_dir()):
                    raise
        remove_needless(steps, key)

    @_in_main
    def load_weights(self, key: str) -> dict[str, Tensor]:
        """The network of a finished step, on the CPU. StepDamaged where it cannot be trusted, or is not finite."""
        return self._whole(key, lambda folder: stored.load_weights(folder, key))

    @_in_main
    def load_state(self, key: str) -> dict[str, Tensor]:
        """The method's state after a finished step. StepDamaged where it cannot be trusted."""
        return self._whole(key, lambda folder: stored.load_tensors(folder, "method", key))

    @_in_main
    def load_training(self, key: str) -> Training:
        """How a finished step was trained. StepDamaged where that cannot be trusted."""
        return self._whole(key, lambda folder: stored.read_formed(folder / "training.json", key, Training))

    def _whole(self, key: str, read: Callable[[Path], T]) -> T:
        folder = self.step_dir(key)
        try:
            return retrying(lambda: read(folder), folder, home=folder.parent)
        except (DamagedFile, FileNotFoundError) as error:
            aside = set_aside(folder)
            raise StepDamaged(f"{error}; the step was set aside as {aside.name}, and is computed anew") from None

    def _or_aside(self, read: Callable[[], T], otherwise: T) -> T:
        """What `read` gives, and `otherwise` where there is no file; one that is damaged is named and set aside."""
        try:
            return read()
        except FileNotFoundError:
            return otherwise
        except DamagedFile as error:
            self._note(f"{error}; it was set aside as {set_aside(error.path).name}, and is computed anew")
            return otherwise

    @_in_main
    def load_first_state(self, key: str, name: str) -> dict[str, Tensor] | None:
        """The state that a method drew from the shared first step; None if there is none that can be trusted."""
        return self._or_aside(lambda: stored.load_extra(self.step_dir(key), name, key), None)

    @_in_main
    def save_first_state(self, key: str, name: str, state: Mapping[str, Tensor]) -> None:
        """Keep the state that a method drew from the shared first step, beside that step."""
        stored.write_extra(self.step_dir(key), name, key, state)

    # Evaluations

    @_in_main
    def has_evaluations(self, key: str, names: list[str]) -> bool:
        """Whether the counts of tests are there; what is damaged is set aside."""
        folder = self.step_dir(key)
        found = [self._or_aside(partial(stored.read_evaluation, folder, name, key), None) for name in names]
        return None not in found

    @_in_main
    def save_evaluation(
        self, key: str, name: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> None:
        """Write the counts of a test image by image, and facts such as their sums."""
        path = self.step_dir(key) / f"{name}.json"
        path.unlink(missing_ok=True)  # so that no crash leaves the counts of two tests side by side
        counts = path.with_suffix(".npz")
        write_arrays(counts, arrays)
        write_sealed(path, {**facts, "counts_sha256": sha256_of(counts)}, key)

    @_in_main
    def load_evaluation(self, key: str, name: str) -> Evaluation:
        """The facts of a test. DamagedFile where they cannot be trusted."""
        return stored.read_evaluation(self.step_dir(key), name, key)

    # Checkpoints and failures

    @_in_main
    def save_checkpoint(self, key: str, state: Mapping[str, Any]) -> None:
        """Replace the step's checkpoint; a crash leaves the old or the new one, never half of one. A step that
        another owner of a lost lock has finished needs none."""
        if not self._has(key):
            write_checkpoint(self.checkpoint_path(key), key, state)

    @_in_main
    def load_checkpoint(self, key: str, iterations: int, wrong_in: Finds = nothing) -> dict[str, Any] | None:
        """The step's checkpoint on the CPU; None if there is none that can be trusted. A step has `iterations`."""
        path = self.checkpoint_path(key)
        if not path.is_file():
            return None
        return self._or_aside(lambda: read_checkpoint(path, key, iterations, wrong_in), None)

    @_in_main
    def save_failed_state(self, key: str, state: Mapping[str, Tensor]) -> Path | None:
        """Keep network and method of a step that fails; returns where, or None where they cannot be written."""
        return stored.write_if_possible(self.root / "steps" / f"{key}.failed.safetensors", state)

    # Runs

    def write_outcome(self, run: str, state: State) -> None:
        """Say what became of a run. A file system that refuses this must not end it."""
        if distributed.is_main():
            with suppress(OSError):
                write_outcome(self.run_dir(run) / "outcome.json", state)

    def save_failure(self, run: str, reason: str, steps: Mapping[str, str]) -> None:
        """Keep why a run failed, and why steps did, by key, until these are finished. Any of several processes may
        call this alone. Since the others fail because of that, the first reason stays."""
        path = self.run_dir(run) / "outcome.json"
        found = read_outcome(path)
        if found is not None and found.state == "failed":
            return
        with suppress(OSError):
            write_outcome(path, "failed", reason)
            for key, why in steps.items():
                write_sealed(self.root / "steps" / f"{key}.failed.json", {"reason": why}, key)

    @_in_main
    def check_records(self, runs: Iterable[str]) -> None:
        """UsageError for a run whose record a newer version wrote."""
        for run in runs:
            with suppress(DamagedFile, FileNotFoundError):
                self._record_there(run)

    @_in_main
    def save_record(self, run: str, record: Record) -> None:
        """Write a run's record. A complete one is never replaced by a partial one, which waits beside it.

        UsageError where the record there was written by a newer version.
        """
        folder = self.run_dir(run)
        path, beside = folder / "run.json", folder / "unfinished.json"
        there = self._or_aside(lambda: self._record_there(run), None)
        if there and not record["complete"] and stored.has_more(there, record):
            write_sealed(beside, record, run)
            return
        write_sealed(path, record, run)
        beside.unlink(missing_ok=True)

    @_in_main
    def load_record(self, run: str) -> Record:
        """A run's record. DamagedFile where it cannot be trusted."""
        return read_record(self.run_dir(run) / "run.json", run)

    @_in_main
    def done_runs(self, runs: Sequence[tuple[str, Sequence[Step], Sequence[str]]]) -> set[str]:
        """Those of the runs that are done, by their names, steps and metrics."""
        return {run for run, steps, metrics in runs if is_done(self.root, run, steps, metrics)}

    def _record_there(self, run: str) -> Record:
        """The record of a run. UsageError for one of a newer version; DamagedFile, or FileNotFoundError."""
        path = self.run_dir(run) / "run.json"
        found = read_record(path, run)
        if found["format"] > FORMAT:
            raise UsageError(
                f"{path} was written by a newer version of issbench; update this one, or pass another --out"
            )
        if found["format"] < FORMAT:
            raise DamagedFile(path, "was written by an older version")
        return found
