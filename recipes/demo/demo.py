"""After the demo's training: let the voice say what it has never heard, and show the result beside the original.

Writes a bundle, audio, a picture for each utterance, and one page that holds them all.
"""

from __future__ import annotations

import argparse
import base64
import html
import math
from dataclasses import dataclass
from pathlib import Path
from string import Template

import librosa
import matplotlib

matplotlib.use("Agg")  # pictures go to files; no display is needed
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor
from tqdm import tqdm

from vocoder import Vocoder
from vocoder.config import MelConfig
from vocoder.data.corpora import read_corpus, split
from vocoder.features.audio import load_audio, save_audio
from vocoder.features.mel import LogMelSpectrogram

HERE = Path(__file__).parent
DECIBELS = 20 / math.log(10)  # of one neper: the demo's mel is the natural logarithm of a magnitude
RANGE_DB = 80  # shown below the loudest value of a pair


@dataclass(frozen=True)
class Pair:
    """An utterance and its imitation.

    Attributes:
        name: The utterance's id.
        text: What is said.
        original: (time,).
        generated: (time,).
        original_mel: (n_mels, frames), in dB.
        generated_mel: (n_mels, frames), in dB.
    """

    name: str
    text: str
    original: Tensor
    generated: Tensor
    original_mel: np.ndarray
    generated_mel: np.ndarray

    @property
    def distance_db(self) -> float:
        """Mean absolute difference of the two mels, in dB."""
        return float(np.abs(self.original_mel - self.generated_mel).mean())


def main() -> None:
    """Export, imitate, show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="what the training wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the bundle, the audio and the page")
    parser.add_argument("--seconds", type=float, default=1.2, help="length taken from each utterance")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # one sample is too little work to share: threads would wait for each other
    vocoder = Vocoder.from_pretrained(arguments.checkpoint)
    arguments.output.mkdir(parents=True, exist_ok=True)
    vocoder.save_pretrained(arguments.output / "bundle")
    pairs = imitate(vocoder, arguments.seconds)
    for pair in pairs:
        write(pair, vocoder.mel, arguments.output)
    page = arguments.output / "index.html"
    page.write_text(render(pairs, arguments.output), encoding="utf-8")
    report(pairs, page, arguments.output / "bundle")


def imitate(vocoder: Vocoder, seconds: float, count: int = 2) -> list[Pair]:
    """Generate the beginnings of some utterances that training never saw, all in one batch."""
    parts = split(read_corpus(HERE))
    utterances = (parts["test"] + parts["validation"])[:count]
    time = round(seconds * vocoder.mel.sample_rate / vocoder.mel.hop_length) * vocoder.mel.hop_length
    waveforms = [load_audio(utterance.path, vocoder.mel.sample_rate)[:time] for utterance in utterances]
    time = min(map(len, waveforms)) // vocoder.mel.hop_length * vocoder.mel.hop_length
    originals = torch.stack([waveform[:time] for waveform in waveforms])

    log_mel = LogMelSpectrogram(vocoder.mel)
    mel = log_mel(originals)
    print(f"Generating {len(originals)} x {time / vocoder.mel.sample_rate:.1f} s, sample by sample:")
    with tqdm(total=originals.numel(), unit=" samples") as bar:
        generated = vocoder.infer(mel, seed=0, progress=bar.update)

    texts = dict(line.split("|")[:2] for line in (HERE / "metadata.csv").read_text(encoding="utf-8").splitlines())
    mels = (mel * DECIBELS).numpy(), (log_mel(generated) * DECIBELS).numpy()
    return [
        Pair(utterance.id, texts[utterance.id], *values)
        for utterance, *values in zip(utterances, originals, generated, *mels, strict=True)
    ]


def write(pair: Pair, mel: MelConfig, folder: Path) -> None:
    """Both waveforms as audio, and the picture of both."""
    save_audio(folder / f"{pair.name}-original.wav", pair.original, mel.sample_rate)
    save_audio(folder / f"{pair.name}-generated.wav", pair.generated, mel.sample_rate)
    draw(pair, mel, folder / f"{pair.name}.png")


def draw(pair: Pair, mel: MelConfig, path: Path) -> None:
    """Waveform above log-mel, the original left and the generated right, on the same scales."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 5), sharex=True, sharey="row", layout="constrained", dpi=200)
    top = max(pair.original_mel.max(), pair.generated_mel.max())
    columns = (("Original", pair.original, pair.original_mel), ("Generated", pair.generated, pair.generated_mel))
    for (title, waveform, spectrum), (above, below) in zip(columns, axes.T, strict=True):
        above.plot(np.arange(len(waveform)) / mel.sample_rate, waveform.numpy(), linewidth=0.4, color="#0072b2")
        above.set_title(title)
        image = below.imshow(
            spectrum,
            origin="lower",
            aspect="auto",
            cmap="viridis",
            vmin=top - RANGE_DB,
            vmax=top,
            extent=(0, len(waveform) / mel.sample_rate, -0.5, mel.n_mels - 0.5),
            interpolation="nearest",
        )
        below.set_xlabel("Time (s)")
    axes[0, 0].set_ylabel("Amplitude (1 = full scale)")
    label_bands(axes[1, 0], mel)
    figure.colorbar(image, ax=axes[1, :], label="Magnitude (dB)", pad=0.01)
    figure.savefig(path)
    plt.close(figure)


def label_bands(axes: Axes, mel: MelConfig) -> None:
    """Say bands in Hz."""
    htk = mel.mel_scale == "htk"
    centres = librosa.mel_frequencies(mel.n_mels + 2, fmin=mel.f_min, fmax=mel.f_max, htk=htk)[1:-1]
    ticks = [hertz for hertz in (125, 500, 1000, 2000, 4000, 7500) if centres[0] <= hertz <= centres[-1]]
    axes.set_yticks(np.interp(ticks, centres, np.arange(mel.n_mels)), [str(hertz) for hertz in ticks])
    axes.set_ylabel("Frequency (Hz)")


def render(pairs: list[Pair], folder: Path) -> str:
    """One page that needs no other file."""
    page = Template((HERE / "page.html").read_text(encoding="utf-8"))
    head, section, foot = page.template.split("<!-- utterance -->")
    sections = [
        Template(section).substitute(
            name=html.escape(pair.name),
            text=html.escape(pair.text),
            distance=f"{pair.distance_db:.1f}",
            original=inline(folder / f"{pair.name}-original.wav", "audio/wav"),
            generated=inline(folder / f"{pair.name}-generated.wav", "audio/wav"),
            picture=inline(folder / f"{pair.name}.png", "image/png"),
        )
        for pair in pairs
    ]
    return head + "".join(sections) + foot


def inline(path: Path, kind: str) -> str:
    """The file as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def report(pairs: list[Pair], page: Path, bundle: Path) -> None:
    """Say what there is, and what comes next."""
    for pair in pairs:
        print(f"{pair.name}: log-mel distance {pair.distance_db:.1f} dB")
    print(f"""
Listen and look:           {page.resolve().as_uri()}
Rough, after two minutes of training. Next:
  use this model           make infer MODEL={bundle} INPUTS="speech.wav" OUTPUT=generated
  train your own voice     make train RECIPE=folder DATA=/path/to/recordings""")


if __name__ == "__main__":
    main()
