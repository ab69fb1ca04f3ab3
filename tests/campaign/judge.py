"""How a case is judged, whatever it throws: words or what was asked for, and nothing that is not finite."""

from __future__ import annotations

import linecache
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from campaign.damage import Rng
from conftest import speech_like_mel, tiny_config, tiny_mel_config, tiny_network
from vocoder.config import SamplingConfig, VocoderConfig
from vocoder.inference.vocoder import Vocoder

REFUSALS = (ValueError, TypeError, OSError)

CONFIGS: dict[str, Callable[[], VocoderConfig]] = {
    "one a step": lambda: tiny_config(),
    "eight a step": lambda: tiny_config("gaussian", num_components=1, samples_per_step=8, recent_excitations=8),
    "four a step, kernel of 3": lambda: tiny_config(kernel_size=3, samples_per_step=4, recent_excitations=3),
    "mu-law": lambda: tiny_config("mu_law_categorical"),
    "speakers": lambda: tiny_config(num_speakers=2, samples_per_step=2),
    "corrected": lambda: VocoderConfig(
        tiny_mel_config(), tiny_config(samples_per_step=8).network, sampling=SamplingConfig(0.8, 1)
    ),
}


counts: Counter[str] = Counter()  # "taken": what was not refused, so that the campaign can say how deep it comes


class FindingError(AssertionError):
    """Something that must not be."""


def require(rule: bool, what: str) -> None:
    """Make a finding of what does not hold."""
    if not rule:
        raise FindingError(what)


def refused(call: Callable[[], Any]) -> Any:
    """Give what a call gives, or None if it refuses in words of the package's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call()
            counts["taken"] += 1
            return result
        except REFUSALS as error:
            judge_refusal(error)
            return None


def judge_refusal(error: Exception) -> None:
    """Words that the package has chosen where it raised; what the file system says is good as it is."""
    require(bool(str(error).strip()), f"{type(error).__name__} without a message")
    if isinstance(error, OSError):
        return
    place = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(place.filename, place.lineno or 0).strip()
    chosen = "/vocoder/" in place.filename and line.startswith("raise ")
    require(chosen, f"{type(error).__name__} of {Path(place.filename).name}:{place.lineno}, not in our words: {error}")


def judge_waveform(waveform: Tensor, model: Vocoder, frames: int) -> None:
    """Finite samples in [-1, 1], as many as the frames make."""
    require(waveform.shape[-1] == frames * model.hop_length, f"{tuple(waveform.shape)} of {frames} frames")
    require(bool(waveform.isfinite().all()), "samples that are not finite")
    loud = waveform[waveform.abs() > 1]
    require(not len(loud), f"{len(loud)} samples beyond [-1, 1], such as {loud[:1].tolist()}")


class Generator:
    """A kind of case.

    Args:
        folder: Where files may be written.
    """

    share: ClassVar[float] = 1.0  # of the campaign's cases, beside the others'

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder = folder
        self.models = {name: Vocoder(config(), tiny_network(config())) for name, config in CONFIGS.items()}

    def case(self, rng: Rng) -> None:
        """Draw a case and judge it."""
        raise NotImplementedError

    def speak(self, model: Vocoder, rng: Rng) -> None:
        """Let a model that was loaded make a few samples."""
        mel = speech_like_mel(model.mel, 2)[0]
        mel = mel if model.mel.layout == "bands_first" else mel.T
        speaker = 0 if model.config.network.num_speakers else None
        if model.hop_length * model.mel.n_mels > 2**16 or sum(model.config.network.dilations) > 2**12:
            return  # right, but slow
        waveform = refused(lambda: model.infer(mel, speaker=speaker, seed=int(rng.integers(2**31))))
        if waveform is not None:
            judge_waveform(waveform, model, 2)
