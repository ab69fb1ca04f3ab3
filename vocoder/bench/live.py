"""`vocoder bench-live`: how many streams this machine serves at once, and how late their samples are.

Each stream gets a chunk of frames whenever as much time has passed, whether it has done with the one before or not, as
from an acoustic model that speaks in real time. A chunk's delay is from then until its samples are there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder.inference.stream import Stream
from vocoder.inference.vocoder import Vocoder

PERCENTILES = (50, 95, 99)
FIRST_SOUND_SECONDS = 0.02
Delays = npt.NDArray[np.float64]


def run_live(model: Vocoder, counts: Sequence[int], chunk_frames: int, seconds: float) -> list[dict[str, Any]]:
    """Serve each number of streams for a while.

    Args:
        model: The model that all streams use.
        counts: The numbers of streams at once, one after the other.
        chunk_frames: The number of frames of a chunk.
        seconds: The duration of the sound of each stream, in seconds.

    Returns:
        For each count: `streams`, `chunk_ms`, `delay_ms_50`, `…_95`, `…_99`, `delay_ms_max` over all chunks; and
        `kept_up`, the number of streams of which 99 % of the chunks were ready within the duration of one: a player
        that is a chunk behind does not run dry. `first_sound_ms` is the same in all rows: see `measure_first_sound`.
    """
    period = chunk_frames * model.hop_length / model.sample_rate
    chunks = max(1, round(seconds / period))
    mel = _random_mel(model, chunks * chunk_frames)
    _open(model).push(mel[:, : 4 * chunk_frames])  # the first touches all memory
    first_sound = measure_first_sound(model, mel, chunk_frames)
    rows = []
    for count in counts:
        begin = time.perf_counter() + 0.1

        def serve(index: int, begin: float = begin, count: int = count) -> Delays:
            return _serve(model, mel, chunk_frames, begin + index * period / count)

        with ThreadPoolExecutor(count) as pool:
            delays = np.stack(list(pool.map(serve, range(count))))
        late = np.percentile(delays, 99, axis=1) > period
        facts = {f"delay_ms_{p}": 1000 * float(np.percentile(delays, p)) for p in PERCENTILES}
        facts["delay_ms_max"] = 1000 * float(delays.max())
        facts |= {"first_sound_ms": 1000 * first_sound, "kept_up": int(count - late.sum())}
        rows.append({"streams": count, "chunk_ms": 1000 * period, **facts})
    return rows


def measure_first_sound(model: Vocoder, mel: Tensor, chunk_frames: int) -> float:
    """Seconds from opening a stream, alone, to its first 20 ms of samples, of chunks that wait: median of several."""
    took = []
    for _ in range(9):
        begin, samples = time.perf_counter(), 0
        stream = _open(model)
        for chunk in mel.split(chunk_frames, dim=1):
            samples += len(stream.push(chunk))
            if samples >= FIRST_SOUND_SECONDS * model.sample_rate:
                break
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def _open(model: Vocoder) -> Stream:
    return model.stream(dialect=replace(model.mel, layout="bands_first"))


def _serve(model: Vocoder, mel: Tensor, chunk_frames: int, begin: float) -> Delays:
    """Measure the delays (chunks,), in seconds, of one stream whose first frame sounds at `begin`."""
    stream, period = _open(model), chunk_frames * model.hop_length / model.sample_rate
    delays = []
    for index, chunk in enumerate(mel.split(chunk_frames, dim=1)):
        due = begin + (index + 1) * period
        time.sleep(max(0.0, due - time.perf_counter()))
        stream.push(chunk)
        delays.append(time.perf_counter() - due)
    return np.array(delays)


def _random_mel(model: Vocoder, frames: int) -> Tensor:
    """Make a mel (n_mels, frames) within the dialect's range: a sample's time does not depend on the mel's values."""
    low, high = model.mel.value_range
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * (0.15 + 0.35 * torch.rand(model.mel.n_mels, frames, generator=generator))


def format_live(rows: Sequence[dict[str, Any]]) -> str:
    """Format the results as a table to be read."""
    lines = [
        f"{'streams':>7}  {'kept up':>7}  {'delay of a chunk: median':>24}  {'95 %':>7}  {'99 %':>7}  {'worst':>7}"
    ]
    for row in rows:
        delays = (row[f"delay_ms_{name}"] for name in (50, 95, 99, "max"))
        median, *rest = (f"{delay:.0f} ms" for delay in delays)
        lines.append(f"{row['streams']:7d}  {row['kept_up']:7d}  {median:>24}  " + "  ".join(f"{x:>7}" for x in rest))
    return "\n".join(lines)
