"""Hear and see a model: held-out utterances, their copies, and what Griffin-Lim makes of the same mels.

Copy synthesis: the mel of a recording goes in, and what comes out is laid beside the recording. Writes audio, a picture
of each utterance, the measures as JSON, and one page that holds them all.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Any

import librosa
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from vocoder import Vocoder
from vocoder.config import MelConfig
from vocoder.data.corpora import Utterance, check_corpus, read_corpus, split
from vocoder.features.audio import load_audio, save_audio
from vocoder.features.mel import LogMelSpectrogram

HERE = Path(__file__).parent
DECIBELS = 20 / math.log(10)  # of one neper: the natural logarithm of a magnitude
RANGE_DB = 80  # shown below the loudest value of a picture


@dataclass
class Copy:
    """One system's rendering of an utterance, and how far it is from the recording.

    Attributes:
        waveform: (time,).
        mel_db: (n_mels, frames).
        measures: By name, with the unit in it.
    """

    waveform: Tensor
    mel_db: np.ndarray
    measures: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Choose, render, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder, .ckpt, voice or hub id")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="of which utterances held out from training are taken"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the audio, the pictures and the page")
    parser.add_argument("--count", type=int, default=8, help="utterances; up to eight cost little more than one")
    parser.add_argument("--seconds", type=float, default=3.0, help="taken from the beginning of each")
    options = parser.parse_args()

    torch.set_num_threads(1)  # the reference engine's products are too small to be shared
    vocoder = Vocoder.from_pretrained(options.model)
    options.output.mkdir(parents=True, exist_ok=True)
    usable, _ = check_corpus(read_corpus(options.corpus), vocoder.sample_rate)
    parts = split([utterance for utterance in usable if utterance.samples > vocoder.mel.n_fft])
    utterances = (parts["test"] + parts["validation"])[: options.count]
    copies = {utterance.id: systems for utterance, systems in render(vocoder, utterances, options.seconds)}
    for name, systems in copies.items():
        for system, copy in systems.items():
            save_audio(options.output / f"{file_name(name, system)}.wav", copy.waveform, vocoder.sample_rate)
        draw(systems, vocoder.mel).savefig(options.output / f"{file_name(name)}.png")
    page = options.output / "index.html"
    page.write_text(compose(copies, options.output, str(options.model)), encoding="utf-8")
    report(copies, page)


def render(vocoder: Vocoder, utterances: list[Utterance], seconds: float) -> list[tuple[Utterance, dict[str, Copy]]]:
    """The recording and its copies of each utterance, all generated in one batch."""
    if (vocoder.mel.log, vocoder.mel.power, vocoder.mel.mel_norm) != ("ln", 1.0, "slaney"):
        raise SystemExit(
            "The measures here are for natural-log magnitude mels with Slaney norm; this model has others."
        )
    # Bands first, whatever the model's layout: so are the pictures and Griffin-Lim.
    dialect = replace(vocoder.mel, layout="bands_first")
    hop_length, log_mel = vocoder.hop_length, LogMelSpectrogram(dialect)
    most = int(seconds * vocoder.sample_rate)
    originals = [load_audio(utterance.path, vocoder.sample_rate)[:most] for utterance in utterances]
    originals = [waveform[: len(waveform) // hop_length * hop_length] for waveform in originals]
    mels = [log_mel(waveform[None])[0] for waveform in originals]
    silence = float(min(mel.min() for mel in mels))
    batch = pad_sequence([mel.T for mel in mels], batch_first=True, padding_value=silence).transpose(1, 2)
    with tqdm(
        total=batch.shape[0] * batch.shape[2] * hop_length, unit=" samples", unit_scale=True, disable=None
    ) as bar:
        generated = vocoder.infer(batch, seed=0, dialect=dialect, progress=bar.update)

    rendered = []
    for row, (utterance, original, mel) in enumerate(zip(utterances, originals, mels, strict=True)):
        waveforms = {"generated": generated[row, : len(original)], "Griffin-Lim": griffin_lim(mel, vocoder.mel)}
        recording = Copy(original, as_decibels(mel))
        systems = {"original": recording}
        for system, waveform in waveforms.items():
            copy = Copy(waveform, as_decibels(log_mel(waveform[None])[0]))
            copy.measures = compare(recording, copy, vocoder.sample_rate)
            systems[system] = copy
        rendered.append((utterance, systems))
    return rendered


def as_decibels(mel: Tensor) -> np.ndarray:
    """Natural-log mel to dB."""
    return (mel * DECIBELS).numpy()


def griffin_lim(mel: Tensor, config: MelConfig, iterations: int = 60) -> Tensor:
    """The classic baseline: magnitudes by least squares, phases by iteration (librosa's, fast variant)."""
    sizes = {"n_fft": config.n_fft, "hop_length": config.hop_length, "win_length": config.win_length}
    magnitude = librosa.feature.inverse.mel_to_stft(
        mel.exp().numpy(), sr=config.sample_rate, n_fft=config.n_fft, power=1.0, fmin=config.f_min, fmax=config.f_max
    )
    waveform = librosa.griffinlim(magnitude, n_iter=iterations, center=False, random_state=0, **sizes)
    before, time = (config.n_fft - config.hop_length) // 2, mel.shape[1] * config.hop_length
    return torch.from_numpy(waveform[before : before + time]).float().clamp(-1, 1)


def compare(original: Copy, copy: Copy, sample_rate: int) -> dict[str, float]:
    """How far a copy is from the recording."""
    level_db = 20 * math.log10(float(copy.waveform.norm() / original.waveform.norm()))
    pitches = [
        librosa.pyin(one.waveform.numpy(), fmin=65, fmax=500, sr=sample_rate, frame_length=1024)[0]
        for one in (original, copy)
    ]
    voiced = [~np.isnan(pitch) for pitch in pitches]
    both = voiced[0] & voiced[1]
    cents = np.abs(1200 * np.log2(pitches[1][both] / pitches[0][both])) if both.any() else np.array([math.nan])
    return {
        "log-mel distance (dB)": float(np.abs(original.mel_db - copy.mel_db).mean()),
        "level (dB)": level_db,
        "F0, median error (cents)": float(np.median(cents)),
        "voicing error (%)": 100 * float((voiced[0] != voiced[1]).mean()),
    }


def draw(systems: dict[str, Copy], config: MelConfig) -> Figure:
    """Waveform above log-mel, a column for each system, on the same scales."""
    figure = Figure(figsize=(4.5 * len(systems), 5), layout="constrained", dpi=150)
    axes = figure.subplots(2, len(systems), sharex=True, sharey="row")
    top = max(copy.mel_db.max() for copy in systems.values())
    for (title, copy), (above, below) in zip(systems.items(), axes.T, strict=True):
        seconds = len(copy.waveform) / config.sample_rate
        above.plot(np.arange(len(copy.waveform)) / config.sample_rate, copy.waveform, linewidth=0.4, color="#0072b2")
        above.set_title(title)
        image = below.imshow(
            copy.mel_db,
            origin="lower",
            aspect="auto",
            vmin=top - RANGE_DB,
            vmax=top,
            extent=(0, seconds, -0.5, config.n_mels - 0.5),
            interpolation="nearest",
        )
        below.set_xlabel("Time (s)")
    axes[0, 0].set_ylabel("Amplitude (1 = full scale)")
    label_bands(axes[1, 0], config)
    figure.colorbar(image, ax=axes[1, :], label="Magnitude (dB)", pad=0.01)
    return figure


def label_bands(axis: Axes, config: MelConfig) -> None:
    """Say bands in Hz."""
    htk = config.mel_scale == "htk"
    centres = librosa.mel_frequencies(config.n_mels + 2, fmin=config.f_min, fmax=config.f_max, htk=htk)[1:-1]
    ticks = [hertz for hertz in (125, 500, 1000, 2000, 4000, 7500) if centres[0] <= hertz <= centres[-1]]
    axis.set_yticks(np.interp(ticks, centres, np.arange(config.n_mels)), [str(hertz) for hertz in ticks])
    axis.set_ylabel("Frequency (Hz)")


def file_name(utterance: str, system: str = "") -> str:
    """Of what belongs to an utterance; an id may hold folders."""
    return "-".join(part for part in (utterance.replace("/", "_"), system) if part)


def compose(copies: dict[str, dict[str, Copy]], folder: Path, model: str) -> str:
    """One page that needs no other file."""
    head, section, player, foot = (HERE / "listen.html").read_text(encoding="utf-8").split("<!-- part -->")
    parts = [Template(head).substitute(model=html.escape(model))]
    for name, systems in copies.items():
        players = [
            Template(player).substitute(
                system=html.escape(system),
                source=inline(folder / f"{file_name(name, system)}.wav", "audio/wav"),
                measures=html.escape(" · ".join(f"{key} {_shown(value)}" for key, value in copy.measures.items())),
            )
            for system, copy in systems.items()
        ]
        picture = inline(folder / f"{file_name(name)}.png", "image/png")
        parts.append(Template(section).substitute(name=html.escape(name), picture=picture, players="".join(players)))
    return "".join([*parts, foot])


def _shown(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.1f}"


def inline(path: Path, kind: str) -> str:
    """The file as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def report(copies: dict[str, dict[str, Copy]], page: Path) -> None:
    """Print the means over the utterances, keep them as JSON, and say where the page is."""
    results: dict[str, Any] = {
        name: {system: copy.measures for system, copy in systems.items() if copy.measures}
        for name, systems in copies.items()
    }
    (page.parent / "measures.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    for system in ("generated", "Griffin-Lim"):
        rows = [measures[system] for measures in results.values()]
        means = ", ".join(f"{key} {np.nanmean([row[key] for row in rows]):.2f}" for key in rows[0])
        print(f"{system:12} {means}")
    print(f"\nListen and look: {page.resolve().as_uri()}")


if __name__ == "__main__":
    main()
