"""Something to hear at once: a recording that ships, and its mel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.features.audio import load_audio

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"  # a corpus of one, which ships within the package
UTTERANCE = "arctic_a0125_1592745717"  # a test utterance of the default voice's speaker; not trained on
TEXT = "He was determined now to maintain a more certain hold upon himself."


@dataclass(frozen=True, eq=False)
class Example:
    """A recording and its mel.

    Attributes:
        mel: The log-mel of the recording in the default voice's dialect, (80, frames).
        waveform: The recording, (frames · 256,), in [-1, 1].
        sample_rate: The sample rate of the recording, in Hz.
        text: The words that are said.
    """

    mel: Tensor
    waveform: Tensor
    sample_rate: int
    text: str


def example() -> Example:
    """Give a recording that ships with the package, and its mel, to try a voice with.

    Four seconds of speech that no voice in the package was trained on (CC0 1.0; see `vocoder/recordings/README.md`).
    The mel ships too, because computing one needs torchaudio, which inference does without.

    Example:
        >>> import vocoder
        >>> waveform = vocoder.infer(vocoder.example().mel)  # doctest: +SKIP
    """
    sample_rate = MelConfig().sample_rate
    waveform = load_audio(RECORDINGS / "wavs" / f"{UTTERANCE}.flac", sample_rate)
    mel = torch.from_numpy(np.load(RECORDINGS / f"{UTTERANCE}.npy"))
    return Example(mel, waveform, sample_rate, TEXT)
