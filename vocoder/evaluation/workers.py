"""Utterances in parallel, a process on each core; what is found of one is a file of its own as soon as it is known.

The file appears whole, tables and pages are made from these files, and an utterance's noise follows from its place in
the split: so a run that was stopped, even killed, goes on where it was.
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

from vocoder.data.corpora import CorpusError, Utterance, check_file
from vocoder.evaluation.copies import CopySynthesis, Setting
from vocoder.evaluation.records import UtteranceRecord, to_record
from vocoder.files import write_whole
from vocoder.machine import physical_cores


@dataclass(frozen=True)
class CopyTask:
    """One utterance's turn: its number makes its noise; its text, if known, is shown."""

    number: int
    recording: Utterance
    text: str


def record_path(output: Path, task: CopyTask) -> Path:
    """Give the file of an utterance's figures."""
    return output / "utterances" / f"{task.recording.id}.json"


def read_record(output: Path, task: CopyTask) -> UtteranceRecord | str:
    """Read what was found of an utterance, or why nothing could be found."""
    raw = json.loads(record_path(output, task).read_text(encoding="utf-8"))
    return raw["problem"] if "problem" in raw else to_record(raw)


def is_done(synthesis: CopySynthesis, task: CopyTask) -> bool:
    """Say whether all was found, or what another vocoder's folder lacked is still not there."""
    if not record_path(synthesis.setting.output, task).is_file():
        return False
    found = read_record(synthesis.setting.output, task)
    if isinstance(found, str):
        return False
    lacking = [other for other in synthesis.others if found.systems[other.name].audio is None]
    return not any(other.find(task.recording.id) for other in lacking)


def copy_all(
    synthesis: CopySynthesis, tasks: Sequence[CopyTask], workers: int | None, progress: Callable[[int, int], None]
) -> None:
    """Write the record of each utterance that has none yet, or one in which something is missing.

    Args:
        synthesis: Copies in this process, or says how others do.
        tasks: All utterances.
        workers: The largest number of processes; None for one on each core.
        progress: A function that is called with the number of utterances that are done, and that there are.

    Raises:
        ChildProcessError: A process died.
    """
    waiting = [task for task in tasks if not is_done(synthesis, task)]
    count = min(workers or physical_cores(), len(waiting))
    done = len(tasks) - len(waiting)
    progress(done, len(tasks))
    for _ in run_in_processes(synthesis.setting, waiting, count) if count > 1 else run_here(synthesis, waiting):
        done += 1
        progress(done, len(tasks))


def run_here(synthesis: CopySynthesis, tasks: Sequence[CopyTask]) -> Iterator[None]:
    """Do one task after the other; yield as each is done."""
    for task in tasks:
        work(synthesis, task)
        yield


def run_in_processes(setting: Setting, tasks: Sequence[CopyTask], count: int) -> Iterator[None]:
    """Do several tasks at a time; yield as each is done."""
    others = set(multiprocessing.active_children())
    # Spawned, not forked: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=begin, initargs=(setting,))
    try:
        for future in as_completed(_submit(pool, tasks)):
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


def _submit(pool: ProcessPoolExecutor, tasks: Sequence[CopyTask]) -> list[Future[None]]:
    try:
        return [pool.submit(work_there, task) for task in tasks]
    except OSError as error:  # one died already, and what another would be started with is closed
        raise BrokenProcessPool(str(error)) from error


_synthesis: CopySynthesis | None = None  # of this process


def begin(setting: Setting) -> None:
    """In each process: load the model, and end when the parent does, even if it is killed."""
    global _synthesis
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    torch.set_num_threads(1)
    _synthesis = CopySynthesis(setting)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def work_there(task: CopyTask) -> None:
    """Do a task in a process that has begun."""
    assert _synthesis is not None
    work(_synthesis, task)


def work(synthesis: CopySynthesis, task: CopyTask) -> None:
    """Copy, measure, write down: the figures, or why there are none."""
    fault = check_file(task.recording.path, synthesis.mel.sample_rate)
    try:
        if isinstance(fault, str):
            raise CorpusError(f"{task.recording.path.name}: {fault}")
        found = to_json(asdict(synthesis(task.number, task.recording, task.text)))
    except (ValueError, OSError) as error:
        found = to_json({"problem": str(error)})
    write_whole(record_path(synthesis.setting.output, task), found)


def to_json(found: dict[str, Any]) -> str:
    """Write a record as JSON text; NaN and infinity, which JSON does not have, are errors."""
    return json.dumps(found, allow_nan=False, ensure_ascii=False)
