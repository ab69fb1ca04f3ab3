"""Griffin-Lim keeps its place; folders of other vocoders' copies are read by one documented rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.evaluation.baselines import CopyFolder, griffin_lim
from vocoder.evaluation.measures.analysis import Analysis
from vocoder.evaluation.measures.spectral import log_mel_distance
from vocoder.features.audio import save_audio
from vocoder.features.mel import LogMelSpectrogram

RATE = 22_050
DIALECTS = {
    "half a hop": MelConfig(),
    "centred": MelConfig(framing="centered"),
    "power": MelConfig(framing="centered", power=2.0, log="log10", floor=1e-10, mel_norm="none"),
    "pre-emphasis": MelConfig(framing="centered", pre_emphasis=0.9),
}


def bursts() -> Tensor:
    """Two short bursts of noise in quiet."""
    waveform = 1e-3 * torch.randn(64 * 256)
    for start in (3000, 9000):
        waveform[start : start + 1500] += 0.2 * torch.randn(1500)
    return waveform


@pytest.mark.parametrize("mel", DIALECTS.values(), ids=DIALECTS.keys())
def test_griffin_lim_keeps_spectrum_and_place(mel: MelConfig) -> None:
    original = bursts()
    frames = len(original) // mel.hop_length
    copy = griffin_lim(LogMelSpectrogram(mel)(original[None])[0, :, :frames], mel)
    assert copy.shape == original.shape
    assert log_mel_distance(Analysis(original, mel), Analysis(copy, mel)) < 2.5
    # Where power rises and falls is seen to a few samples: the envelopes' correlation is best without a shift.
    envelopes = [one.square().unfold(0, 128, 8).mean(dim=1) for one in (original, copy)]
    shifts = range(-40, 41)
    matches = [float((envelopes[0] * envelopes[1].roll(shift)).sum()) for shift in shifts]
    assert abs(shifts[matches.index(max(matches))]) * 8 <= 64


def test_griffin_lim_is_the_same_every_time_and_leaves_the_random_state_alone() -> None:
    mel = LogMelSpectrogram(MelConfig())(bursts()[None])[0]
    before = torch.random.get_rng_state()
    assert torch.equal(griffin_lim(mel, MelConfig()), griffin_lim(mel, MelConfig()))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for name, samples, rate in (("a/one.wav", 1000, RATE), ("two.flac", 1100, RATE), ("slow.wav", 1000, 16_000)):
        save_audio(tmp_path / name, 0.1 * torch.ones(samples), rate)
    (tmp_path / "damaged.wav").write_bytes(b"RIFF")
    return tmp_path


def test_copies_are_found_by_id_in_a_tree_or_flat(folder: Path) -> None:
    others = CopyFolder("other", folder)
    assert others.find("a/one") == folder / "a/one.wav"
    assert others.find("b/two") == folder / "two.flac"
    assert others.find("three") is None
    assert others.find("b/one") is None  # another folder's is another utterance


def test_a_copy_that_could_be_of_two_utterances_is_refused(folder: Path) -> None:
    others = CopyFolder("other", folder)
    others.check(["a/one", "b/one", "b/two", "three"])
    with pytest.raises(ValueError, match=r"two.flac of other could be the copy of b/two or of c/two. Put copies"):
        others.check(["a/one", "b/two", "c/two"])


def test_a_copy_is_cut_or_filled_to_the_recording_s_length(folder: Path) -> None:
    others = CopyFolder("other", folder)
    assert others.load("two", RATE, 1050, slack=64).shape == (1050,)
    filled = others.load("two", RATE, 1150, slack=64)
    assert filled.shape == (1150,)
    assert bool((filled[1100:] == 0).all())


@pytest.mark.parametrize(
    ("utterance", "samples", "message"),
    [
        ("three", 1000, "other has no file for three"),
        ("damaged", 1000, "damaged.wav cannot be read as audio"),
        ("slow", 1000, "slow.wav of other has 16000 Hz, the recording 22050. Render it at that."),
        ("two", 1000, "two.flac of other is 1100 samples long, the recording 1000. Up to 64 more or less"),
        ("two", 1200, "is it the same utterance"),
    ],
)
def test_a_copy_that_cannot_be_compared_says_why(folder: Path, utterance: str, samples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CopyFolder("other", folder).load(utterance, RATE, samples, slack=64)


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--compare other needs a folder of audio, but in .* no file ends in .*\.wav"):
        CopyFolder("other", tmp_path)
    with pytest.raises(ValueError, match="--compare other needs a folder of audio, but there is none at"):
        CopyFolder("other", tmp_path / "none")
