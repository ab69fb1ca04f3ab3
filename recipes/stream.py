"""Stream for long: the mel of a corpus, in small chunks, for an hour of sound; memory and pace drawn, samples compared.

Reads recordings one after the other, over and over if need be, as one endless utterance. Writes a picture and the
numbers behind it; with --check, also generates the whole at once, and says whether both are the same to the last bit.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from vocoder import Vocoder
from vocoder.data.layouts import read_corpus
from vocoder.features.audio import load_audio, to_levels
from vocoder.features.mel import LogMelSpectrogram


def main() -> None:
    """Stream, measure, draw, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder, .ckpt, voice or hub id")
    parser.add_argument("--corpus", type=Path, required=True, help="whose recordings are said one after the other")
    parser.add_argument("--output", type=Path, required=True, help="folder for stream.png and stream.json")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of sound")
    parser.add_argument("--chunk-frames", type=int, default=10, help="pushed at a time")
    parser.add_argument("--threads", type=int, help="at most so many")
    parser.add_argument("--check", action="store_true", help="compare with the whole, generated at once")
    options = parser.parse_args()

    torch.set_num_threads(1)  # analysing the corpus shall not disturb what is measured
    model = Vocoder.from_pretrained(options.model)
    frames = int(options.seconds * model.sample_rate / model.hop_length)
    keep = {"threads": options.threads, "dialect": replace(model.mel, layout="bands_first")}
    stream, digest, course = model.stream(**keep), hashlib.sha256(), []
    begin, made = time.perf_counter(), 0
    with tqdm(total=frames * model.hop_length, unit=" samples", unit_scale=True, disable=None) as bar:
        for waveform in stream.over(chunks(model, options.corpus, frames, options.chunk_frames)):
            digest.update(to_levels(waveform).tobytes())
            made += len(waveform)
            bar.update(len(waveform))
            if made // model.sample_rate // 10 > len(course):  # every ten seconds of sound
                course.append((made / model.sample_rate, time.perf_counter() - begin, resident_megabytes()))
    facts = {"model": str(options.model), "samples": made, "chunk_frames": options.chunk_frames, **summary(course)}
    if options.check:
        whole = torch.cat(list(chunks(model, options.corpus, frames, options.chunk_frames)), dim=1)
        at_once = hashlib.sha256(to_levels(model.infer(whole, **keep)).tobytes())
        facts["equal"] = at_once.hexdigest() == digest.hexdigest()
    options.output.mkdir(parents=True, exist_ok=True)
    draw(np.array(course)).savefig(options.output / "stream.png", dpi=150)
    (options.output / "stream.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


def chunks(model: Vocoder, corpus: Path, frames: int, size: int) -> Iterator[Tensor]:
    """Give the corpus' mel in chunks (n_mels, size), `frames` in all."""
    log_mel = LogMelSpectrogram(replace(model.mel, layout="bands_first"))
    rest, left = torch.empty(model.mel.n_mels, 0), frames
    for utterance in cycle(read_corpus(corpus)):
        rest = torch.cat([rest, log_mel(load_audio(utterance.path, model.sample_rate)[None])[0]], dim=1)
        while rest.shape[1] >= size or rest.shape[1] >= left:
            chunk, rest = rest[:, : min(size, left)], rest[:, min(size, left) :]
            left -= chunk.shape[1]
            yield chunk
            if left == 0:
                return


def resident_megabytes() -> float:
    """Memory of this process, now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def summary(course: list[tuple[float, float, float]]) -> dict[str, float]:
    """Summarise the course of sound, wall time and memory; the first minute warms up."""
    sound, wall, memory = np.array(course).T
    settled = memory[sound > min(60, sound[-1] / 2)]
    pace = np.diff(sound) / np.diff(wall)
    return {
        "times_real_time": round(sound[-1] / wall[-1], 3),
        "slowest_ten_seconds": round(float(pace.min()), 3),
        "memory_mb_after_a_minute": round(float(settled[0]), 1),
        "memory_mb_at_the_end": round(float(settled[-1]), 1),
        "memory_mb_most": round(float(settled.max()), 1),
    }


def draw(course: np.ndarray) -> Figure:
    """Memory and pace over the sound that has been made: (points, 3) of sound, wall time, megabytes."""
    sound, wall, memory = course.T
    figure = Figure(figsize=(8, 4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(sound / 60, memory, color="#0072b2")
    above.set(ylabel="memory, MB", ylim=(0, 1.2 * memory.max()))
    below.plot(sound[1:] / 60, np.diff(sound) / np.diff(wall), color="#d55e00", linewidth=0.8)
    below.axhline(1, color="black", linewidth=0.8, linestyle="--")
    below.set(xlabel="minutes of sound", ylabel="× real time", ylim=(0, None))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
