"""Runs a generator's cases in a process of its own, which may die; each case follows from the seed and its number."""

from __future__ import annotations

import faulthandler
import json
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

LONGEST = 5.0  # seconds that a case may take by the processor; a waiting process is told from a hanging one by `HANGS`
HANGS = 120


@dataclass
class Result:
    """What came of a generator.

    Attributes:
        cases: That were run.
        taken: Cases of which something was not refused; None where that is not counted.
        seconds: That it took.
        findings: Number of the case and what was found.
    """

    cases: int = 0
    taken: int | None = None
    seconds: float = 0.0
    findings: list[tuple[int, str]] = field(default_factory=list)


def rng_of(name: str, seed: int, case: int) -> np.random.Generator:
    """Give the generator of a case's numbers."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), case])


def run_cases(name: str, seed: int, first: int, count: int, report: Path | None = None) -> Result:
    """Run cases in this process.

    Args:
        name: The generator's.
        seed: The campaign's.
        first: The number of the first case.
        count: How many.
        report: A file to which the number of each case is written before it begins.
    """
    from campaign.generators import GENERATORS
    from campaign.judge import counts

    result = Result(count, 0)
    with tempfile.TemporaryDirectory() as folder:
        generator = GENERATORS[name](Path(folder))
        for case in range(first, first + count):
            if report is not None:
                report.write_text(json.dumps([case, result.taken, result.findings]))
                faulthandler.dump_traceback_later(HANGS, exit=True)
            started, taken = time.process_time(), counts["taken"]
            try:
                generator.case(rng_of(name, seed, case))
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(where.filename).name}:{where.lineno}"
                result.findings.append((case, f"{type(error).__name__} at {place}: {str(error)[:200]}"))
            if time.process_time() - started > LONGEST:
                result.findings.append((case, f"took {time.process_time() - started:.1f} s"))
            result.taken += counts["taken"] > taken
        faulthandler.cancel_dump_traceback_later()
        if hasattr(generator, "close"):
            generator.close()
    if report is not None:
        report.write_text(json.dumps([first + count, result.taken, result.findings]))
    return result


def fuzz(name: str, seed: int, count: int) -> Result:
    """Run cases in processes of their own: one that dies is a finding, and the next goes on behind it."""
    result, taken, case, started = Result(count), 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        while case < count:
            code = "from campaign.fuzz import run_cases; import sys; from pathlib import Path\n"
            code += f"run_cases({name!r}, {seed}, {case}, {count - case}, Path({str(report)!r}))"
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            if not report.is_file():
                raise RuntimeError(f"{name} could not begin:\n{run.stderr}")
            reached, deep, findings = json.loads(report.read_text())
            taken += deep
            result.findings += [(int(number), str(what)) for number, what in findings]
            if run.returncode:
                said = " ".join(run.stderr.split())[:600]
                result.findings.append((reached, f"the process ended with {run.returncode}: {said}"))
                reached += 1
            report.unlink()
            case = reached
    result.taken, result.seconds = taken, time.monotonic() - started
    return result
