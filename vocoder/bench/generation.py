"""The speed of generation, and its distance from what the machine could do: `vocoder bench`.

All that is compared runs in turn, round after round, so that a machine whose speed drifts treats all alike; the
machine's own limits are measured in the same rounds. Only `Engine.generate` is timed: conditioning, noise and states
are there before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from vocoder.bench.cases import BenchCase, BenchPlan, engine_cases
from vocoder.bench.limits import MachineLimits, measure_limits
from vocoder.bench.peers import peer_cases
from vocoder.columns import align
from vocoder.config import VocoderConfig
from vocoder.machine import cpu_name
from vocoder.model.wavenet import WaveNet

PAUSE_SECONDS = 0.2  # before a run: torch's threads go on spinning for a while after theirs

Row = dict[str, Any]


def run_benchmark(name: str, config: VocoderConfig, network: WaveNet, plan: BenchPlan) -> list[Row]:
    """Time every combination of a plan.

    Args:
        name: The name of the network.
        config: The config of the network.
        network: The network, in eval mode.
        plan: The plan of what to time.

    Returns:
        One row of plain numbers and names for each combination; see `make_row`.

    Raises:
        ValueError: A combination cannot be run.
    """
    peers = peer_cases(plan)
    cases = [*engine_cases(name, config, network, plan), *peers]
    precisions = dict.fromkeys(case.precision for case in cases)
    rates: list[list[float]] = [[] for _ in cases]
    limits: dict[str, list[MachineLimits | None]] = {precision: [] for precision in precisions}
    with tqdm(total=len(cases) * (plan.repeats + 1), unit=" runs", disable=None, leave=False) as bar:
        frames = [calibrate(case, plan.seconds, bar.update) for case in cases]
        for _ in range(plan.repeats):
            for precision in precisions:
                limits[precision].append(measure_limits(precision))
            for case, count, own in zip(cases, frames, rates, strict=True):
                time.sleep(PAUSE_SECONDS)
                own.append(count * case.frame_samples / case.run(count))
                bar.update()
    rows = []
    for case, count, own in zip(cases, frames, rates, strict=True):
        row = make_row(case, own, limits[case.precision])
        rows.append({**row, "samples_per_run": count * case.frame_samples})
    return _compare(rows, cases, rates, peers[0].network) if peers else rows


def calibrate(case: BenchCase, seconds: float, progress: Callable[[], object]) -> int:
    """Find the frames of a run that takes about `seconds`; runs at least once, and so warms up."""
    frames, target = 1, seconds / 10
    elapsed = case.run(frames)
    if elapsed < target:  # the first run paid for much that a later one does not: measure again
        frames = max(1, round(frames * target / elapsed))
        elapsed = case.run(frames)
    progress()
    return max(1, round(frames * seconds / elapsed))


def make_row(case: BenchCase, rates: Sequence[float], limits: Sequence[MachineLimits | None]) -> Row:
    """Give what was measured of a combination.

    Args:
        case: The combination.
        rates: The samples per second of all streams together, of each run.
        limits: The machine's, measured in the same rounds.

    Returns:
        Names and numbers: of rates and limits the medians. Fractions are of the limits of one thread times `threads`;
        they and the limits are None without the native library.
    """
    work, rate = case.work, statistics.median(rates)
    weights = None if work is None else work.weight_bytes / case.streams
    multiply_adds = None if work is None else work.multiply_adds
    row: Row = {key: getattr(case, key) for key in ("network", "engine", "isa", "precision", "streams", "threads")}
    row |= {
        "samples_per_second": round(rate),
        "samples_per_second_min": round(min(rates)),
        "samples_per_second_max": round(max(rates)),
        "times_real_time": round(rate / case.sample_rate, 4),
        "multiply_adds_per_sample": None if work is None else round(work.multiply_adds),
        "weight_bytes_per_step": None if work is None else round(work.weight_bytes),
    }
    bandwidth = [one.bytes_per_second for one in limits if one is not None]
    peak = [one.multiply_adds_per_second for one in limits if one is not None]
    for fraction, limit, values, needed in (
        ("bandwidth_fraction", "l2_bytes_per_second", bandwidth, weights),
        ("peak_fraction", "peak_multiply_adds_per_second", peak, multiply_adds),
    ):
        most = statistics.median(values) if values else None
        row[fraction] = None if most is None or needed is None else round(rate * needed / (most * case.threads), 4)
        row[limit] = None if most is None else round(most)
    return {**row, "machine": case.machine or cpu_name()}


def _compare(rows: Sequence[Row], cases: Sequence[BenchCase], rates: Sequence[Sequence[float]], peer: str) -> list[Row]:
    """Add how many times as fast as a peer at as many streams and threads each row is, in seconds of audio: median."""
    times = [[rate / case.sample_rate for rate in own] for case, own in zip(cases, rates, strict=True)]
    peers = {(c.streams, c.threads): own for c, own in zip(cases, times, strict=True) if c.network == peer}
    compared = []
    for row, case, own in zip(rows, cases, times, strict=True):
        pairs = zip(own, peers[case.streams, case.threads], strict=True)
        compared.append({**row, "times_peer": round(statistics.median(one / other for one, other in pairs), 2)})
    return compared


# --- what people read -------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Callable[[Row], str]] = {
    "network": lambda row: row["network"],
    "engine": lambda row: row["engine"],
    "isa": lambda row: row["isa"] or "none",
    "precision": lambda row: row["precision"],
    "streams": lambda row: str(row["streams"]),
    "threads": lambda row: str(row["threads"]),
    "samples/s": lambda row: f"{row['samples_per_second']:,}",
    "min": lambda row: f"{row['samples_per_second_min']:,}",
    "max": lambda row: f"{row['samples_per_second_max']:,}",
    "× real time": lambda row: f"{row['times_real_time']:.2f}",
    "multiply-adds": lambda row: _count(row["multiply_adds_per_sample"]),
    "weight bytes": lambda row: _count(row["weight_bytes_per_step"]),
    "of L2": lambda row: _percent(row["bandwidth_fraction"]),
    "of peak": lambda row: _percent(row["peak_fraction"]),
    "× peer": lambda row: f"{row['times_peer']:,.2f}" if "times_peer" in row else "",
}


def format_rows(rows: Sequence[Row]) -> str:
    """Align a table of rows: multiply-adds of a sample, weight bytes of a step of all streams; the first peer is 1."""
    lines = [list(COLUMNS), *([cell(row) for cell in COLUMNS.values()] for row in rows)]
    columns = [column for column in zip(*lines, strict=True) if any(column[1:])]
    return "\n".join(align(list(zip(*columns, strict=True)), right=range(4, len(columns))))


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f} %"
