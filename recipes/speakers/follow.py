"""Does what comes out follow the speaker's name? Each validation mel is copied under each name, and measured.

Prints tables whose rows are the speakers of the mels and whose columns are the names that the model was given: bits per
sample of the recording, PESQ, F0, and how far the average spectrum is from either's. A model without speakers has one
column.

    python recipes/speakers/follow.py --model my-voices --corpus /path/to/one /path/to/another
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from vocoder import Vocoder
from vocoder.data.corpora import Utterance, split_each
from vocoder.data.layouts import name_speakers, read_corpora
from vocoder.engines import create_engine
from vocoder.evaluation.measures.analysis import Analysis
from vocoder.evaluation.measures.likelihood import log_likelihood
from vocoder.evaluation.measures.perceptual import pesq
from vocoder.features.audio import load_audio
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.checks import check_speaker
from vocoder.inference.conditioner import Conditioner, condition_whole

SECONDS = 4.0  # of each recording
SPECTRUM_BANDS = 40  # in which spectra are compared
NOBODY = "(none)"  # the name that a model without speakers is given
Table = Mapping[tuple[str, str], float]  # of a mel's speaker and a name


def main() -> None:
    """Copy, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder, .ckpt, voice or hub id")
    parser.add_argument("--corpus", nargs="+", required=True, help="that it was trained on, divided as then")
    parser.add_argument("--limit", type=int, default=4, help="recordings of each speaker; %(default)s if left out")
    parser.add_argument("--temperature", type=float, default=1.0, help="of the copies; %(default)s if left out")
    options = parser.parse_args()

    torch.set_num_threads(1)
    voice, chosen = Vocoder.from_pretrained(options.model), choose(options.corpus, options.limit)
    copier, copies = Copier(voice, options.temperature), []
    names = voice.speakers or (NOBODY,)
    with tqdm(total=len(chosen) * len(names), unit=" copies", disable=None) as bar:
        for number, utterance in enumerate(chosen):
            for name in names:
                copies.append(copier(number, utterance, name))
                bar.update()
    for title, (digits, table) in tables(copies).items():
        print("\n".join([f"\n{title}\n", *lines(table, digits, sorted({u.speaker for u in chosen}), names)]))


@dataclass(frozen=True)
class Copy:
    """A recording of `speaker`, and what was made of its mel under a `name`."""

    speaker: str
    name: str
    original: Analysis
    made: Analysis
    bits: float


class Copier:
    """Makes copies of recordings, and says how likely the recordings are.

    Args:
        voice: The model.
        temperature: The temperature of the copies.
    """

    def __init__(self, voice: Vocoder, temperature: float) -> None:
        self.voice, self.mel, self.temperature = voice, replace(voice.mel, layout="bands_first"), temperature
        self.log_mel, self.engine = LogMelSpectrogram(self.mel), create_engine("auto", voice.network, threads=1)

    def __call__(self, number: int, utterance: Utterance, name: str) -> Copy:
        """Copy an utterance, whose number makes its noise, under a name."""
        voice, speaker = self.voice, None if name == NOBODY else name
        waveform = load_audio(utterance.path, voice.sample_rate)[: round(SECONDS * voice.sample_rate)]
        frames = len(waveform) // voice.hop_length
        waveform = waveform[: frames * voice.hop_length]
        mel = self.log_mel(waveform[None])[0, :, :frames]
        how = {"temperature": self.temperature, "dialect": self.mel, "threads": 1}
        made = voice.infer(mel, utterance=number, speaker=speaker, **how)
        conditioner = Conditioner(voice.network, check_speaker(speaker, voice.config, 1))
        conditioning = condition_whole(conditioner, mel[None])
        log_prob = log_likelihood(self.engine, conditioning, waveform, voice.config.waveform)
        looks = replace(self.mel, n_mels=SPECTRUM_BANDS)  # of which the model may have fewer
        bits = -float(log_prob.double().mean()) / math.log(2)
        return Copy(utterance.speaker, name, Analysis(waveform, looks), Analysis(made, looks), bits)


def choose(roots: Sequence[str], limit: int) -> list[Utterance]:
    """List so many validation utterances of each speaker."""
    validation = split_each(name_speakers(read_corpora(roots)), by_speaker=True)["validation"]
    of_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in validation:
        of_speaker[utterance.speaker].append(utterance)
    return [u for _, utterances in sorted(of_speaker.items()) for u in utterances[:limit]]


def tables(copies: Sequence[Copy]) -> dict[str, tuple[int, Table]]:
    """Give each table, and the digits that its numbers deserve, under its title."""
    groups: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    for copy in copies:
        groups[copy.speaker, copy.name].append(copy)
    own = {speaker: spectrum([c.original for c in group]) for (speaker, _), group in groups.items()}

    def each(measure: Callable[[list[Copy]], float]) -> Table:
        return {pair: measure(group) for pair, group in groups.items()}

    def apart(group: list[Copy], speaker: str) -> float:
        return float(np.sqrt(np.mean(np.square(spectrum([c.made for c in group]) - own[speaker]))))

    recorded = {(name, ""): f0([c.original for c in group]) for (name, _), group in groups.items()}
    found = {
        "NLL of the recordings, bits per sample": (3, each(lambda group: float(np.mean([c.bits for c in group])))),
        "PESQ": (2, each(lambda group: float(np.mean([pesq(c.original, c.made) for c in group])))),
        "Median F0, Hz": (0, each(lambda group: f0([c.made for c in group])) | recorded),
        "Average spectrum, dB from the mel's speaker's": (1, each(lambda group: apart(group, group[0].speaker))),
    }
    if copies[0].name != NOBODY:
        named = each(lambda group: apart(group, group[0].name))
        found["Average spectrum, dB from the named speaker's"] = (1, named)
    return found


def f0(analyses: Sequence[Analysis]) -> float:
    """Give the median of all voiced frames, in Hz; NaN if there are none."""
    found = np.concatenate([one.f0 for one in analyses])
    voiced = found[~np.isnan(found)]
    return float(np.median(voiced)) if len(voiced) else math.nan


def spectrum(analyses: Sequence[Analysis]) -> np.ndarray:
    """Give the mean power of each mel band in dB, less its level (n_mels,)."""
    power = torch.cat([10 ** (one.bands_db / 10) for one in analyses], dim=1).mean(dim=1)
    bands = 10 * np.log10(power.numpy())
    return np.asarray(bands - bands.mean())


def lines(table: Table, digits: int, speakers: Sequence[str], names: Sequence[str]) -> list[str]:
    """Give the lines of a table in Markdown, its numbers with so many digits after the point."""
    columns = [*([""] if (speakers[0], "") in table else []), *names]
    head = [f"| mel of | {' | '.join(name or 'recorded' for name in columns)} |", "|---" + "|--:" * len(columns) + "|"]
    return head + [
        f"| {one} | {' | '.join(f'{table[one, name]:.{digits}f}' for name in columns)} |" for one in speakers
    ]


if __name__ == "__main__":
    main()
