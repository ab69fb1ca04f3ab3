"""Commands that lack something: room on the disk, leave to write, memory, a process of theirs.

A command then ends in a sentence, and what lies under final names is whole; what it had begun is gone, and the same
command, begun again where nothing is lacking, ends as if nothing ever had been.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from campaign.fuzz import Result, rng_of
from campaign.judge import require
from campaign.kills import TARGETS, Target, run

ELSEWHERE = Path("/dev/shm")  # a tmpfs, which most Linux have: another file system than that of temporary files


def try_to_run(command: Callable[[], Any], log: Path) -> bool:
    """Run a command that may fail, but in words; says whether it did not."""
    try:
        run(command, log=log)
    except AssertionError as error:
        said = log.read_text()
        require("ended with" in str(error), str(error))
        require("Traceback" not in said, f"a traceback: {said[-900:]}")
        require("error" in said.lower(), f"no word of an error: {said[-300:]}")
        return False
    return True


def with_limit(kind: int, limit: int, command: Callable[[], Any]) -> Callable[[], Any]:
    """A command that may use so much and no more."""

    def call() -> Any:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(kind, (limit, limit))
        return command()

    return call


class NotHereError(Exception):
    """This user may not do what the fault needs."""


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory at a folder.

    Raises:
        NotHereError: Only root may have one.
    """
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode
    if made != 0:
        raise NotHereError("mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def small_files(target: Target, output: Path, whole: Path, log: Path, share: float) -> None:
    """No file may be larger than a part of the largest that there will be."""
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    failed = not try_to_run(with_limit(resource.RLIMIT_FSIZE, int(share * largest), target.first(output)), log)
    judge(target, output, whole, log, failed)


def full_disk(target: Target, output: Path, whole: Path, log: Path, share: float) -> None:
    """The disk has room for a part of what there will be."""
    total = sum(path.stat().st_size + 4096 for path in whole.rglob("*") if path.is_file())
    output.rmdir()
    with mounted(output, f"size={max(4096, int(share * total)) // 4096 * 4096}"):
        failed = not try_to_run(target.first(output), log)
        subprocess.run(["mount", "-o", "remount,size=1g", str(output)], check=True)
        judge(target, output, whole, log, failed)


def read_only(target: Target, output: Path, whole: Path, log: Path, share: float) -> None:
    """The output may not be written."""
    output.rmdir()
    with mounted(output, "size=64m"):
        command = target.first(output)
        subprocess.run(["mount", "-o", "remount,ro", str(output)], check=True)
        before = sorted(output.rglob("*"))
        require(not try_to_run(command, log), "it wrote where nothing may be written")
        require(sorted(output.rglob("*")) == before, "something was written where nothing may be")


def other_file_system(target: Target, output: Path, whole: Path, log: Path, share: float) -> None:
    """The output lies on another file system than temporary files do."""
    with tempfile.TemporaryDirectory(dir=ELSEWHERE) as elsewhere:
        require(os.stat(elsewhere).st_dev != os.stat(output).st_dev, f"{ELSEWHERE} is no other file system")
        place = Path(elsewhere) / "output"
        place.mkdir()
        run(target.first(place), log=log)
        target.check_end(place, whole)


def little_memory(target: Target, output: Path, whole: Path, log: Path, share: float) -> None:
    """There are 1 to 64 MB beside what the imports take; with less, Python may wait for threads that never begin."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = taken + int(2 ** (20 + 6 * share))
    failed = not try_to_run(with_limit(resource.RLIMIT_AS, limit, target.first(output)), log)
    judge(target, output, whole, log, failed)


def lost_process(target: Target, output: Path, whole: Path, log: Path, share: float) -> None:
    """One of the command's own processes, a reader of data or a worker, is killed, as the system does for memory."""
    command = target.in_processes(output)
    if command is None:
        raise NotHereError("it has no processes")

    def call() -> Any:
        Thread(target=kill_first_child, daemon=True).start()
        return command()

    judge(target, output, whole, log, failed=not try_to_run(call, log))


def kill_first_child() -> None:
    """Kill the first process that this one starts, as soon as it is there."""
    while not (children := multiprocessing.active_children()):
        time.sleep(0.01)
    os.kill(children[0].pid or 0, signal.SIGKILL)


FAULTS = {
    one.__name__: one for one in (small_files, full_disk, read_only, other_file_system, little_memory, lost_process)
}
COMMANDS = ("infer", "predict", "export", "fit", "evaluate")


def judge(target: Target, output: Path, whole: Path, log: Path, failed: bool) -> None:
    """What is there is whole, nothing that was begun lies about, and the same command again makes what lacks."""
    target.check_rest(output, whole)
    begun = [str(path.relative_to(output)) for path in output.rglob("*") if ".part" in path.name]
    require(not begun, f"left behind: {begun}")
    if failed:
        log.unlink()
        run(target.again(output), log=log)
    target.check_end(output, whole)


def lack(name: str, seed: int, count: int) -> Result:
    """Let a command lack each thing, so many times each, every time another amount."""
    result, started = Result(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        target, whole, log = TARGETS[name](Path(folder), stack), Path(folder) / "whole", Path(folder) / "log"
        whole.mkdir()
        run(target.first(whole), log=log)
        for case in range(count):
            for fault, let_lack in FAULTS.items():
                rng, output = rng_of(f"{name} {fault}", seed, case), Path(folder) / f"{fault}-{case}"
                output.mkdir()
                log.unlink(missing_ok=True)
                try:
                    let_lack(target, output, whole, log, float(rng.random()))
                    result.cases += 1
                except NotHereError:
                    pass
                except Exception as error:
                    result.cases += 1
                    result.findings.append((case, f"{fault}: {type(error).__name__}: {str(error)[:900]}"))
                shutil.rmtree(output, ignore_errors=True)
    result.seconds = time.monotonic() - started
    return result
