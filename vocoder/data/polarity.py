"""The polarity of a corpus: microphones and amplifiers turn a waveform upside down, which is not heard.

The glottis closes once per period, and the pulse that it gives the vocal tract has one sign. So the excitation of
speech is skewed, to the side that the recording chain has chosen. A network that learns from several corpora has less
to learn when all are the same way up. Drugman 2013, "Residual excitation skewness for automatic speech polarity
detection".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from vocoder.config import MelConfig
from vocoder.data.corpora import Utterance
from vocoder.data.reading import read_stretch
from vocoder.features.mel import LogMelSpectrogram
from vocoder.model.prediction import LinearPredictor, predict

ORDER = 16
UTTERANCES, SECONDS = 10, 6.0  # listened to of a corpus: one utterance in ten points the other way, ten do not
LARGEST = 6.0  # expected sizes beyond which an excitation is a click, or a frame that the mel describes badly


def estimate_polarity(utterances: Sequence[Utterance], mel: MelConfig) -> int:
    """Say by which sign to multiply a corpus so that its excitation is skewed to the negative side: 1 or -1.

    Args:
        utterances: The corpus; some of them, evenly spread, are read.
        mel: The dialect whose linear predictor gives the excitation.
    """
    chosen = utterances[:: max(1, len(utterances) // UTTERANCES)][:UTTERANCES]
    return 1 if sum(_skewness(utterance, mel) for utterance in chosen) <= 0 else -1


def _skewness(utterance: Utterance, mel: MelConfig) -> float:
    """Measure the skewness of an utterance's excitation where it is louder than usual, and so is mostly voiced."""
    waveform = torch.from_numpy(read_stretch(utterance.path, 0, int(SECONDS * mel.sample_rate), mel.sample_rate))[None]
    frames = waveform.shape[1] // mel.hop_length
    if waveform.shape[1] < mel.n_fft:
        return 0.0
    log_mel = LogMelSpectrogram(dataclasses.replace(mel, layout="bands_first"))(waveform)[..., :frames]
    coefficients, scale = LinearPredictor(mel, ORDER)(log_mel)
    samples = F.pad(waveform[:, : frames * mel.hop_length], (ORDER, 0))
    left = (samples[:, ORDER:] - predict(samples, coefficients, mel.hop_length)).view(frames, mel.hop_length)
    loud = scale[0] > scale.median()
    excitation = (left / scale[0, :, None])[loud].clamp(-LARGEST, LARGEST)
    return float((excitation**3).mean() / (excitation**2).mean() ** 1.5) if loud.any() else 0.0
