"""A preset's mel is the other project's, by its documented formula and by its own code; and a mel says whose it is."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from peers import PEERS, run_peer
from renditions import RENDITIONS
from test_features import speech_like
from vocoder.config import MelConfig, NetworkConfig
from vocoder.constants import LOWEST_HZ
from vocoder.features.audio import load_audio, resample
from vocoder.features.dialects import CATALOGUE, DIALECTS, guess_dialect
from vocoder.features.mel import LogMelSpectrogram
from vocoder.model.prediction import predict
from vocoder.model.wavenet import WaveNet

RATES = sorted({dialect.mel.sample_rate for dialect in CATALOGUE.values()})


@lru_cache
def synthetic(sample_rate: int) -> Tensor:
    """(time,), a second with pauses, above a background at -60 dB as recordings have one."""
    random = np.random.default_rng(0)
    waveform = speech_like(1.0, sample_rate)
    return torch.from_numpy(waveform + 3e-4 * random.standard_normal(len(waveform))).float()


@lru_cache
def recorded(number: int, sample_rate: int) -> Tensor:
    """(time,), about three seconds of the number-th utterance of either voice by turns."""
    if "VOCODER_SPEECH" not in os.environ:
        pytest.skip("VOCODER_SPEECH names no folder of speech")
    voice = ("kathleen", "kerstin")[number % 2]
    file = sorted(Path(os.environ["VOCODER_SPEECH"]).glob(f"{voice}/wavs/*.flac"))[number]
    return resample(load_audio(file, 22_050)[: 3 * 22_050 + 17], 22_050, sample_rate)


def mel_of(waveform: Tensor, name: str) -> Tensor:
    return LogMelSpectrogram(CATALOGUE[name].mel)(waveform[None])[0]


def assert_equal_mels(ours: Tensor, theirs: NDArray[Any]) -> None:
    assert tuple(ours.shape) == theirs.shape
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-5)  # float32's last digit is 1e-6


# --- the catalogue


def test_every_preset_has_a_judge() -> None:
    assert set(RENDITIONS) == set(CATALOGUE)


def test_every_name_and_alias_means_one_dialect() -> None:
    aliases = [alias for dialect in CATALOGUE.values() for alias in dialect.aliases]
    assert len(DIALECTS) == len(CATALOGUE) + len(aliases)
    assert DIALECTS["speechbrain"] is DIALECTS["tacotron2"] is CATALOGUE["tacotron2"].mel
    assert all(name == name.lower() and " " not in name and "_" not in name for name in DIALECTS)


def test_no_preset_is_another_by_a_second_name() -> None:
    assert len({dialect.mel for dialect in CATALOGUE.values()}) == len(CATALOGUE)


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        DIALECTS["mine"] = MelConfig()  # type: ignore[index]


def test_each_preset_says_in_a_line_whose_it_is() -> None:
    for dialect in CATALOGUE.values():
        assert 5 < len(dialect.about) <= 70
        assert "/" in dialect.source


# --- extraction


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_presets_mel_is_the_projects_formula(name: str) -> None:
    waveform = synthetic(CATALOGUE[name].mel.sample_rate)
    assert_equal_mels(mel_of(waveform, name), RENDITIONS[name](waveform.double().numpy()))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_presets_mel_of_real_speech_is_the_projects_formula(name: str) -> None:
    for number in range(4):
        waveform = recorded(number, CATALOGUE[name].mel.sample_rate)
        assert_equal_mels(mel_of(waveform, name), RENDITIONS[name](waveform.double().numpy()))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_preset_has_the_projects_silence(name: str) -> None:
    silence = torch.zeros(CATALOGUE[name].mel.n_fft * 3)
    assert_equal_mels(mel_of(silence, name), RENDITIONS[name](silence.double().numpy()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of old code
@pytest.mark.parametrize("name", PEERS)
def test_a_presets_mel_is_the_projects_own(name: str) -> None:
    if "VOCODER_PEERS" not in os.environ:
        pytest.skip("VOCODER_PEERS names no folder of other projects' checkouts")
    rate = CATALOGUE[name].mel.sample_rate
    for waveform in (synthetic(rate), recorded(0, rate), recorded(1, rate)):
        ours = mel_of(waveform, name)
        theirs = run_peer(name, Path(os.environ["VOCODER_PEERS"]), waveform)
        if name.startswith("nemo-") and ours.shape[1] == theirs.shape[1] + 1:
            ours = ours[:, :-1]  # NeMo masks the last centred frame
        assert_equal_mels(ours, theirs)


# --- what the network reads in a mel


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_network_reads_predictor_and_pitch_in_every_preset(name: str) -> None:
    mel = CATALOGUE[name].mel
    sizes = {"residual_channels": 4, "gate_channels": 8, "skip_channels": 4, "layers_per_cycle": 2}
    step = max(count for count in range(1, 9) if mel.hop_length % count == 0)
    network = WaveNet(NetworkConfig(step, **sizes, conditioning_channels=4), mel)
    waveform = synthetic(mel.sample_rate)
    frames = len(waveform) // mel.hop_length
    values = LogMelSpectrogram(replace(mel, layout="bands_first"))(waveform[None])[..., :frames]
    conditioning = network.condition(values)
    for part in (conditioning.context, conditioning.coefficients, conditioning.scale):
        assert part.isfinite().all()
    assert (conditioning.scale > 0).all()
    assert conditioning.lag.min() >= step
    assert conditioning.lag.max() <= mel.sample_rate / LOWEST_HZ

    waveform = waveform[None, : frames * mel.hop_length]
    order = conditioning.coefficients.shape[-1]
    past = torch.nn.functional.pad(waveform, (order, 0))
    residual = waveform - predict(past, conditioning.coefficients, mel.hop_length)
    gain_db = 10 * math.log10(float(waveform.square().mean() / residual.square().mean()))
    assert gain_db > 6  # one bit per sample
    # The expected residual is the true one's size, on average over the louder half of the frames.
    size = residual.reshape(frames, mel.hop_length).square().mean(dim=1).sqrt()
    loud = size > size.median()
    assert 0.5 < (conditioning.scale[0] / size)[loud].median() < 2


# --- whose a mel is


# Alike in the values of a mel of speech that is nowhere silent.
ALIKE = [
    {"tacotron2", "hifigan", "bigvgan-22k-full", "cosyvoice2", "cosyvoice3", "tacotron2-wavernn", "coqui-ddc",
     "nemo-hifigan", "nemo-hifigan-44k", "nemo-fastpitch", "nemo-fastpitch-44k", "nv-wavenet"},
    {"bigvgan-44k", "bigvgan-44k-512"},
    {"parallel-wavegan", "parallel-wavegan-24k", "espnet", "speecht5", "r9y9"},
    {"coqui", "rayhane", "real-time-voice-cloning"},
    {"vocos-24k", "f5-tts"},
    {"nemo-22k", "nemo-44k"},
]  # fmt: skip


def alike(name: str) -> set[str]:
    return next((group for group in ALIKE if name in group), {name})


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_guess_is_the_dialect_or_one_of_like_values(name: str) -> None:
    mel = mel_of(synthetic(CATALOGUE[name].mel.sample_rate), name)
    guesses = guess_dialect(mel)
    assert guesses[0] in alike(name)
    assert name in guesses
    for layout in (mel.T, mel[None], mel.T[None].double().numpy()):
        assert guess_dialect(layout) == guesses


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_guess_on_real_speech_is_the_dialect_or_one_of_like_values(name: str) -> None:
    for number in range(8):
        guesses = guess_dialect(mel_of(recorded(number, CATALOGUE[name].mel.sample_rate), name))
        assert guesses[0] in alike(name)
        assert name in guesses


def test_values_below_a_floor_tell_the_dialect_that_has_a_lower_one() -> None:
    waveform = synthetic(22_050).clone()
    waveform[:6000] = 0
    assert guess_dialect(mel_of(waveform, "coqui-ddc"))[0] == "coqui-ddc"
    assert guess_dialect(mel_of(waveform, "tacotron2"))[0] == "tacotron2"
    waveform = synthetic(24_000).clone()
    waveform[:6000] = 0
    assert guess_dialect(mel_of(waveform, "vocos-24k"))[0] == "vocos-24k"
    assert guess_dialect(mel_of(waveform, "f5-tts"))[0] == "f5-tts"


def test_a_mel_normalised_by_statistics_is_said_to_be_of_a_dialect_that_has_them() -> None:
    mel = mel_of(synthetic(22_050), "espnet")
    normalised = (mel - mel.mean(dim=0)) / mel.std(dim=0)
    assert CATALOGUE[guess_dialect(normalised + 0.2)[0]].statistics


def test_the_number_of_bands_can_be_said() -> None:
    mel = mel_of(synthetic(22_050), "hifigan")[:, :100]  # (80, 100): either axis could hold the bands
    assert guess_dialect(mel, n_mels=80)[0] in alike("hifigan")
    assert all(CATALOGUE[name].mel.n_mels == 80 for name in guess_dialect(mel, n_mels=80))
    assert all(CATALOGUE[name].mel.n_mels == 100 for name in guess_dialect(mel, n_mels=100))


@pytest.mark.parametrize(
    "mel",
    [torch.rand(77, 90), torch.full((80, 200), 300.0), torch.linspace(-1e4, 0, 8000).view(80, 100)],
    ids=["bands", "too loud", "too wide"],
)
def test_what_no_preset_can_have_made_is_none(mel: Tensor) -> None:
    assert guess_dialect(mel) == []


def test_a_mel_of_one_frame_is_read_without_a_warning() -> None:
    frame = mel_of(synthetic(22_050), "hifigan")[:, 30:31]
    assert guess_dialect(frame.T) == guess_dialect(frame)  # pytest takes a warning for an error


@pytest.mark.parametrize("shape", [(80, 0), (0, 80, 100), (80,), ()])
def test_what_has_no_bands_or_no_frames_is_refused(shape: tuple[int, ...]) -> None:
    for mel in (torch.zeros(shape), np.zeros(shape)):
        with pytest.raises(ValueError, match=rf"an axis of bands.* but has shape {re.escape(str(shape))}\. Pass"):
            guess_dialect(mel)
