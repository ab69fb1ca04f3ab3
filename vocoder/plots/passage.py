"""The law that a network gives each sample of a recording, given the true ones before it: numbers for `draw_law`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.constants import LEVELS
from vocoder.features.mel import LogMelSpectrogram, pre_emphasis
from vocoder.inference.checks import check_speaker
from vocoder.inference.vocoder import Vocoder
from vocoder.model.distributions import MuLawCategorical, OutputDistribution
from vocoder.model.wavenet import Conditioning


@dataclass(frozen=True)
class Passage:
    """A stretch of a recording, and the laws of its samples.

    Attributes:
        waveform: The waveform (time,), as the network sees it; see `WaveformConfig`.
        parameters: The parameters (time, num_parameters) of each sample's law, given the true samples before it.
        prediction: The linear prediction of each sample (time,); None for a network without.
        bits: The bits that each sample takes (time,): -log2 of the probability of each sample's level.
    """

    waveform: Tensor
    parameters: Tensor
    prediction: Tensor | None
    bits: Tensor


def choose_passage(model: Vocoder, waveform: Tensor, start: float | None, seconds: float) -> tuple[int, int]:
    """Choose the first sample and number of samples of a stretch; the loudest if its start is None.

    Raises:
        ValueError: It is empty, or not within the whole frames of the recording.
    """
    rate, time = model.sample_rate, len(waveform) // model.hop_length * model.hop_length
    length = round(seconds * rate)
    if not 1 <= length <= time:
        raise ValueError(
            f"`seconds` must be positive and at most {time / rate:g}, the recording's, but is {seconds:g}. "
            "Some hundredths are enough to see single samples."
        )
    if start is None:
        energy = F.pad(waveform[:time].double().square().cumsum(0), (1, 0))
        return int((energy[length:] - energy[:-length]).argmax()), length
    begin = round(start * rate)
    if not 0 <= begin <= time - length:
        raise ValueError(
            f"`start` must lie between 0 and {(time - length) / rate:g}, to leave {seconds:g} seconds, but is "
            f"{start:g}. Leave it out for the loudest passage."
        )
    return begin, length


@torch.inference_mode()
def follow(model: Vocoder, waveform: Tensor, begin: int, length: int, speaker: int | str | None = None) -> Passage:
    """Teacher-force a stretch; all of the past that the network sees is the true one.

    Args:
        model: The model whose laws are followed.
        waveform: The recording (time,), in [-1, 1]; the mel is the whole one's.
        begin: The first sample of the stretch.
        length: The number of samples in it.
        speaker: The name or index of the voice, for models of several.

    Raises:
        TypeError: As `infer`, of `speaker`.
        ValueError: As `infer`, of `speaker`.
    """
    network, hop_length, history = model.network, model.hop_length, model.network.history_length
    first, last = max(0, begin - network.past_length) // hop_length, -(-(begin + length) // hop_length)
    conditioning = _condition(model, waveform, speaker).slice_frames(first, last)
    config = model.config.waveform
    given = F.pad(config.gain * pre_emphasis(waveform, config.pre_emphasis), (history, 0))
    given = given[None, first * hop_length : last * hop_length + history].to(conditioning.scale)
    shown = slice(begin - first * hop_length, begin - first * hop_length + length)
    past, samples = given[:, :history], given[:, history:]
    parameters = network(samples, conditioning, past)[0, shown]
    return Passage(
        samples[0, shown],
        parameters,
        network.predict(samples, conditioning, past)[0][0, shown] if network.predictor is not None else None,
        -network.distribution.log_prob(parameters, samples[0, shown]) / math.log(2),
    )


def _condition(model: Vocoder, waveform: Tensor, speaker: int | str | None) -> Conditioning:
    device = next(model.network.parameters()).device
    speakers = check_speaker(speaker, model.config, 1)
    mel = LogMelSpectrogram(replace(model.mel, layout="bands_first"))(waveform[None])
    return model.network.condition(mel.to(device), None if speakers is None else speakers.to(device))


def law_mean(distribution: OutputDistribution, parameters: Tensor) -> Tensor:
    """Mean of each law, of parameters (time, num_parameters): (time,); what lies beyond [-1, 1) is not cut off."""
    if isinstance(distribution, MuLawCategorical):
        levels = torch.arange(distribution.num_parameters, device=parameters.device)
        return parameters.softmax(dim=-1) @ distribution.decode(levels)
    logits, location, _ = parameters.chunk(3, dim=-1)
    return (logits.softmax(dim=-1) * location).sum(dim=-1)


@torch.inference_mode()
def log_density(distribution: OutputDistribution, parameters: Tensor, amplitudes: Tensor) -> Tensor:
    """Give the natural log of the probability per unit of amplitude: a level's mass, divided by the level's width.

    Args:
        distribution: The distribution that the parameters describe.
        parameters: The parameters (time, num_parameters).
        amplitudes: The amplitudes (levels, time), in [-1, 1).

    Returns:
        The log densities (levels, time).
    """
    # Step by step: a softmax of many levels, at many amplitudes and times at once, would not fit in memory.
    masses = [
        distribution.log_prob(law.expand(len(column), -1), column)
        for law, column in zip(parameters, amplitudes.T, strict=True)
    ]
    return torch.stack(masses, dim=1) - level_widths(distribution, amplitudes).log()


def level_widths(distribution: OutputDistribution, amplitudes: Tensor) -> Tensor:
    """Give the width of the level of each amplitude; of any shape."""
    if not isinstance(distribution, MuLawCategorical):
        return torch.full_like(amplitudes, 1 / LEVELS)
    level = distribution.encode(amplitudes)
    lower, upper = (distribution.decode((level + half).clamp(0, distribution.mu)) for half in (-0.5, 0.5))
    return upper - lower
