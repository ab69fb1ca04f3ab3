"""Utterances in parallel, a process on each core; what is found of one is a file of its own as soon as it is known.

So a run that was stopped, even killed, goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from vocoder.data.corpora import CorpusError, check_file
from vocoder.data.corpora import Utterance as Recording
from vocoder.engines.native import physical_cores
from vocoder.evaluation.copies import Copier, Setting
from vocoder.evaluation.records import Utterance, to_utterance, write_whole


@dataclass(frozen=True)
class Job:
    """One utterance's turn: its number makes its noise; its text, if known, is shown."""

    number: int
    recording: Recording
    text: str


def record_path(output: Path, job: Job) -> Path:
    """Give the file of an utterance's figures."""
    return output / "utterances" / f"{job.recording.id}.json"


def read_record(output: Path, job: Job) -> Utterance | str:
    """Read what was found of an utterance, or why nothing could be found."""
    raw = json.loads(record_path(output, job).read_text(encoding="utf-8"))
    return raw["problem"] if "problem" in raw else to_utterance(raw)


def is_done(copier: Copier, job: Job) -> bool:
    """Whether all was found, or what another vocoder's folder lacked is still not there."""
    if not record_path(copier.setting.output, job).is_file():
        return False
    found = read_record(copier.setting.output, job)
    if isinstance(found, str):
        return False
    lacking = [other for other in copier.others if found.systems[other.name].audio is None]
    return not any(other.find(job.recording.id) for other in lacking)


def copy_all(copier: Copier, jobs: Sequence[Job], workers: int | None, progress: Callable[[int, int], None]) -> None:
    """Write the record of each utterance that has none yet, or one in which something is missing.

    Args:
        copier: Copies in this process, or says how others do.
        jobs: All utterances.
        workers: The largest number of processes; None for one on each core.
        progress: A function that is called with the number of utterances that are done, and that there are.

    Raises:
        ChildProcessError: A process died.
    """
    waiting = [job for job in jobs if not is_done(copier, job)]
    count = min(workers or physical_cores(), len(waiting))
    done = len(jobs) - len(waiting)
    progress(done, len(jobs))
    for _ in run_in_processes(copier.setting, waiting, count) if count > 1 else run_here(copier, waiting):
        done += 1
        progress(done, len(jobs))


def run_here(copier: Copier, jobs: Sequence[Job]) -> Iterator[None]:
    """Do one job after the other; yield as each is done."""
    for job in jobs:
        work(copier, job)
        yield


def run_in_processes(setting: Setting, jobs: Sequence[Job], count: int) -> Iterator[None]:
    """Do several jobs at a time; yield as each is done."""
    others = set(multiprocessing.active_children())
    # Spawned, not forked: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=begin, initargs=(setting,))
    try:
        for future in as_completed(_submit(pool, jobs)):
            future.result()
            yield
    except BrokenProcessPool as error:
        # The pool ends those that it had when one died, then waits for all: also for one that was just being started.
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise ChildProcessError(
            f"One of {count} processes died; most likely memory ran out. Run the same command again with fewer "
            "--workers: it goes on where it was."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, jobs: Sequence[Job]) -> list[Future[None]]:
    try:
        return [pool.submit(work_there, job) for job in jobs]
    except OSError as error:  # one died already, and what another would be started with is closed
        raise BrokenProcessPool(str(error)) from error


_copier: Copier | None = None  # of this process


def begin(setting: Setting) -> None:
    """In each process: load the model, and end when the parent does, even if it is killed."""
    global _copier
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    torch.set_num_threads(1)
    _copier = Copier(setting)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def work_there(job: Job) -> None:
    """Do a job in a process that has begun."""
    assert _copier is not None
    work(_copier, job)


def work(copier: Copier, job: Job) -> None:
    """Copy, measure, write down: the figures, or why there are none."""
    fault = check_file(job.recording.path, copier.mel.sample_rate)
    try:
        if isinstance(fault, str):
            raise CorpusError(f"{job.recording.path.name}: {fault}")
        found = to_json(asdict(copier(job.number, job.recording, job.text)))
    except (ValueError, OSError) as error:
        found = to_json({"problem": str(error)})
    write_whole(record_path(copier.setting.output, job), found)


def to_json(found: dict[str, Any]) -> str:
    """Write a record as JSON text; NaN and infinity, which JSON does not have, are errors."""
    return json.dumps(found, allow_nan=False, ensure_ascii=False)
