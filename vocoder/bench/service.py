"""`python -m vocoder.bench.service`: how many streams a running service keeps up with, seen from a client.

Each stream sends a chunk of frames whenever as much time has passed, as from an acoustic model that speaks in real
time. A sample's delay is from when the last frame that it depends on was sent until it is here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from websockets.asyncio.client import connect

from vocoder.bench.live import PERCENTILES, format_live
from vocoder.features.dialects import DIALECTS

CHUNK_FRAMES = 10
START_SECONDS = 1.0  # in which all connect
LOW, HIGH = DIALECTS["hifigan"].value_range  # as of the voices that ship

Delays = npt.NDArray[np.float64]


def main() -> None:
    """Print a table: as many rows as numbers of streams are asked for."""
    parser = argparse.ArgumentParser(prog="python -m vocoder.bench.service", description=__doc__)
    parser.add_argument("--url", default="ws://127.0.0.1:8000/v1/stream", help="%(default)s if left out")
    parser.add_argument("--streams", default="1,2,4,8", help="at once; %(default)s if left out")
    parser.add_argument("--seconds", type=float, default=10.0, help="of sound of each; %(default)s if left out")
    options = parser.parse_args()
    for index, count in enumerate(map(int, options.streams.split(","))):
        table = format_live([asyncio.run(load(options.url, count, options.seconds))])
        print(table if index == 0 else table.splitlines()[1], flush=True)


async def load(url: str, count: int, seconds: float) -> dict[str, Any]:
    """Hold a number of streams at once.

    Returns:
        A row of `vocoder.bench.live.format_live`.

    Raises:
        ConnectionClosedError: The service refuses one, or cuts it short.
    """
    begin = time.perf_counter() + START_SECONDS
    spoken = await asyncio.gather(*(_speak(url, begin, index / count, seconds) for index in range(count)))
    together = np.concatenate([delays for delays, _ in spoken])
    facts = {f"delay_ms_{p}": 1000 * float(np.percentile(together, p)) for p in PERCENTILES}
    kept_up = sum(bool(np.percentile(delays, 99) <= period) for delays, period in spoken)
    return {"streams": count, "kept_up": kept_up, "delay_ms_max": 1000 * float(together.max()), **facts}


async def _speak(url: str, begin: float, phase: float, seconds: float) -> tuple[Delays, float]:
    """Measure the delays of one stream's messages, and how long a chunk is, in seconds; `phase` is in chunks."""
    async with connect(url, proxy=None, ping_interval=None) as client:
        await client.send("{}")
        facts = json.loads(await client.recv())
        period = CHUNK_FRAMES * facts["hop_length"] / facts["sample_rate"]
        chunk = _random_frames(facts["n_mels"])
        sent = [0.0] * max(1, math.ceil(seconds / period))

        async def send() -> None:
            for index in range(len(sent)):
                await asyncio.sleep(begin + (phase + index + 1) * period - time.perf_counter())
                sent[index] = time.perf_counter()
                await client.send(chunk)
            await client.send('{"end": true}')

        sending, heard, delays = asyncio.create_task(send()), 0.0, []
        async for message in client:
            now = time.perf_counter()
            if isinstance(message, bytes):
                heard += len(message) / 2 / facts["sample_rate"]
                last = math.ceil((heard + facts["latency"]) / period - 1e-6)
                delays.append(now - sent[min(last, len(sent)) - 1])
        await sending
    return np.array(delays), period


def _random_frames(n_mels: int) -> bytes:
    """Make a chunk within the dialect's range: the time that a sample takes does not depend on the mel's values."""
    frames = LOW + (HIGH - LOW) * (0.15 + 0.35 * np.random.default_rng(0).random((CHUNK_FRAMES, n_mels)))
    return frames.astype("<f4").tobytes()


if __name__ == "__main__":
    main()
