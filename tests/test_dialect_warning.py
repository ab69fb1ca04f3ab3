"""A mel that is not what it is said to be is noticed, and what is what it is said to be is left in peace."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import voice
from vocoder.config import MelConfig
from vocoder.data.layouts import read_corpus
from vocoder.features.audio import load_audio
from vocoder.features.dialects import CATALOGUE
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.mel_checks import look_frames, warn_of_other_dialects

SPEECH = os.environ.get("VOCODER_SPEECH")
ALIKE = [name for name, entry in CATALOGUE.items() if entry.mel.sample_rate == 22_050]
# What nothing but the bands' places and the floor distinguish from `hifigan`.
SAME_VALUES = {
    "tacotron2", "hifigan", "bigvgan-22k-full", "tacotron2-wavernn", "coqui-ddc", "nemo-hifigan", "nemo-fastpitch",
}  # fmt: skip


def mel_of(name: str, waveform: Tensor) -> Tensor:
    mel = LogMelSpectrogram(CATALOGUE[name].mel)(waveform[None])
    return mel if CATALOGUE[name].mel.layout == "bands_first" else mel.transpose(1, 2)


@pytest.fixture(scope="module")
def speech() -> list[Tensor]:
    if SPEECH is None:
        pytest.skip("VOCODER_SPEECH names no folder of speech")
    corpora = (read_corpus(folder) for folder in sorted(Path(SPEECH).glob("k*")))
    return [load_audio(u.path, 22_050) for corpus in corpora for u in corpus[:: max(1, len(corpus) // 3)][:3]]


@pytest.mark.parametrize("name", ALIKE)
def test_a_dialect_s_own_speech_is_left_in_peace(speech: list[Tensor], name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for waveform in speech:
            for gain in (1.0, 0.2):
                warn_of_other_dialects(mel_of(name, gain * waveform), CATALOGUE[name].mel)


@pytest.mark.parametrize("name", sorted(set(ALIKE) - SAME_VALUES))
def test_another_s_speech_is_noticed_also_within_the_range(speech: list[Tensor], name: str) -> None:
    said = CATALOGUE["hifigan"].mel
    with pytest.warns(UserWarning, match="looks like another dialect"):
        noticed = [warn_of_other_dialects(mel_of(name, waveform), said) for waveform in speech]
    assert sum(noticed) >= 0.8 * len(noticed)


def test_less_than_a_second_is_judged_by_its_range_alone() -> None:
    said = CATALOGUE["hifigan"].mel
    short = mel_of("coqui", 0.3 * voice(150.0, 22_050, slope=1.0)[0])[..., : look_frames(said) // 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not warn_of_other_dialects(short, said)


def test_a_dialect_of_one_s_own_is_judged_by_its_range_alone() -> None:
    own = MelConfig(log="log10", shift=-2.0, scale=3.0)
    low, high = own.value_range
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not warn_of_other_dialects(low + (high - low) * 0.6 * torch.rand(1, own.n_mels, 300), own)
