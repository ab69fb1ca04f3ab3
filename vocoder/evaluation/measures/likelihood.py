"""The likelihood of a recording by a model, and by linear prediction with hindsight."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.config import WaveformConfig
from vocoder.constants import LEVELS
from vocoder.engines import Engine
from vocoder.evaluation.records import Measure
from vocoder.features.mel import pre_emphasis
from vocoder.model.wavenet import Conditioning

PIECE_FRAMES = 64  # followed at a time: the laws of a whole utterance would take more memory than all else

LIKELIHOOD = (
    Measure(
        "nll_bits", "NLL", "bits/sample", "low", 3,
        "Mean −log₂ p of the recording's samples, each given the true samples before it and the mel, as 16-bit levels "
        "(mu-law models: as their own, fewer levels). Falls by up to one bit when a recording is halved in amplitude.",
    ),
    Measure("nll_nats", "NLL", "nats/sample", "low", 3, "The same by the natural logarithm."),
    Measure(
        "yardstick_bits", "LP yardstick", "bits/sample", "low", 3,
        "What the same samples would cost by a linear predictor of order 32 with a Gaussian residual, both fitted by "
        "least squares to each 46 ms with hindsight: a good model is below.",
    ),
)  # fmt: skip

YARDSTICK_ORDER = 32
YARDSTICK_SECONDS = 0.046
LEAST_VARIANCE = 1 / 12  # of 16-bit levels: that of rounding to them


def log_likelihood(engine: Engine, conditioning: Conditioning, waveform: Tensor, config: WaveformConfig) -> Tensor:
    """Give the log-probability of each sample under teacher forcing, in the engine's own precision.

    Args:
        engine: The engine of the network.
        conditioning: The conditioning that the recording's mel gives.
        waveform: The recording (frames · hop_length,), in [-1, 1).
        config: The config of the network's waveform: its pre-emphasis and gain.

    Returns:
        The log-probabilities (frames · hop_length,), in nats.
    """
    law = engine.network.distribution
    pieces = teacher_forced_laws(engine, conditioning, waveform, config)
    return torch.cat([law.log_prob(parameters, samples)[0] for parameters, samples in pieces])


def teacher_forced_laws(
    engine: Engine, conditioning: Conditioning, waveform: Tensor, config: WaveformConfig
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the law of each sample given the true samples before it, piece by piece; the arguments of `log_likelihood`.

    Returns:
        The parameters (1, time, parameters) and samples (1, time) of each piece, the samples as the network sees them.
    """
    given = (config.gain * pre_emphasis(waveform, config.pre_emphasis))[None].float()
    hop_length, state = engine.network.hop_length, engine.initial_state(1)
    for start in range(0, conditioning.frames, PIECE_FRAMES):
        piece = conditioning.slice_frames(start, min(start + PIECE_FRAMES, conditioning.frames))
        samples = given[:, start * hop_length : (start + piece.frames) * hop_length]
        with torch.inference_mode():
            laws = engine.force(piece, samples, state)
        yield laws, samples


def linear_prediction_yardstick(waveform: Tensor, sample_rate: int) -> float:
    """Bits per 16-bit sample of an adaptive linear predictor that knows each frame in advance.

    In each frame the coefficients that leave the least residual (covariance method: Markel and Gray 1976, chapter 1),
    then the entropy of a Gaussian of that residual's variance, ½ log₂(2πe σ²), σ in levels.

    Args:
        waveform: The waveform (time,), in [-1, 1].
        sample_rate: The sample rate in Hz.
    """
    length = min(round(YARDSTICK_SECONDS * sample_rate), len(waveform))
    levels = F.pad(waveform.double() * LEVELS, (YARDSTICK_ORDER, 0))
    frames = levels.unfold(0, YARDSTICK_ORDER + length, length)  # what is left over at the end is left out
    past = frames.unfold(1, YARDSTICK_ORDER, 1)[:, :length]
    target = frames[:, YARDSTICK_ORDER:, None]
    # A ridge far below rounding: silence has no predictor of its own.
    normal = past.mT @ past + LEAST_VARIANCE * torch.eye(YARDSTICK_ORDER, dtype=torch.float64)
    residual = target - past @ torch.linalg.solve(normal, past.mT @ target)
    variance = residual.square().mean(dim=(1, 2)).clamp(min=LEAST_VARIANCE)
    return float((0.5 * torch.log2(2 * math.pi * math.e * variance)).mean())
