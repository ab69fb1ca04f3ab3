"""Given mels are laid beside their audio to the sample, and what does not belong together is found and named."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vocoder.config import MelConfig, NetworkConfig
from vocoder.data.corpora import CorpusError, Utterance
from vocoder.data.given_mels import SLACK, GivenMels, find_mels, lay_beside
from vocoder.data.layouts import read_corpus
from vocoder.data.pairing import RELATED, check_pairs, compare_pair
from vocoder.features.audio import load_audio
from vocoder.features.dialects import DIALECTS
from vocoder.features.mel import LogMelSpectrogram

pytest.importorskip("torchaudio")
pytest.importorskip("lightning")
from vocoder.data.datamodule import VocoderDataModule
from vocoder.training.module import VocoderModule

DEMO = Path(__file__).parents[1] / "recipes" / "demo"
MEL = MelConfig()
GIVEN = GivenMels(MEL, margin_frames=3)


@pytest.fixture(scope="module")
def recordings() -> list[Utterance]:
    return [replace(u, samples=len(load_audio(u.path, MEL.sample_rate))) for u in read_corpus(DEMO)[:4]]


def own_mel(utterance: Utterance, dialect: MelConfig = MEL) -> torch.Tensor:
    mel = LogMelSpectrogram(replace(dialect, layout="bands_first"))
    return mel(load_audio(utterance.path, MEL.sample_rate)[None])[0]


def as_a_decoder_would(mel: torch.Tensor) -> torch.Tensor:
    """Blurred over frames and bands, and a little off everywhere."""
    kernel = torch.tensor([[[0.25, 0.5, 0.25]]])
    for _ in range(2):
        mel = F.conv1d(F.pad(mel[:, None], (1, 1), mode="replicate"), kernel)[:, 0].T
    return mel + 0.15 * float(mel.std()) * torch.randn(mel.shape, generator=torch.Generator().manual_seed(0))


def save(root: Path, utterances: list[Utterance], mels: list[torch.Tensor]) -> list[Utterance]:
    for utterance, mel in zip(utterances, mels, strict=True):
        path = root / f"{utterance.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, mel.numpy())
    [found] = find_mels({"demo": utterances}, root)[0].values()
    return found


def move(mel: torch.Tensor, shift: int) -> torch.Tensor:
    """Early by so many frames: those are cut off; or late, and the first is repeated."""
    return mel[:, shift:] if shift >= 0 else F.pad(mel, (-shift, 0), mode="replicate")


@pytest.mark.parametrize("shift", [0, 1, -1, 5, -12])
def test_a_shift_by_frames_is_found_in_what_a_decoder_makes(recordings, tmp_path, shift):
    pairs = save(tmp_path, recordings, [move(as_a_decoder_would(own_mel(u)), shift) for u in recordings])
    for pairing in (compare_pair(pair, GIVEN) for pair in pairs):
        assert pairing.shift == shift
        assert pairing.correlation > 0.8
        assert pairing.frames == pairing.expected - shift


def test_centred_frames_are_half_a_frame_late_where_frames_begin_with_the_waveform(recordings, tmp_path):
    centred = replace(MEL, framing="centered")
    pairs = save(tmp_path, recordings, [as_a_decoder_would(own_mel(u, centred)) for u in recordings])
    assert {compare_pair(pair, GIVEN).shift for pair in pairs} == {-0.5}
    assert {compare_pair(pair, GivenMels(centred, 3)).shift for pair in pairs} == {0.0}
    with pytest.raises(CorpusError, match=r"half a frame late: `framing` .*`--data\.mel_shift=-0\.5`"):
        check_pairs(pairs, GIVEN, 0)
    check_pairs(pairs, GIVEN, -0.5)


@pytest.mark.parametrize("shift", [2, -3])
def test_a_shift_is_refused_until_it_is_declared(recordings, tmp_path, shift):
    pairs = save(tmp_path, recordings, [move(own_mel(u), shift) for u in recordings])
    side = "early" if shift > 0 else "late"
    with pytest.raises(CorpusError, match=rf"are {abs(shift)} frames {side}: .*`--data\.mel_shift={shift}`"):
        check_pairs(pairs, GIVEN, 0)
    check_pairs(pairs, GIVEN, shift)


def test_the_mels_of_other_sentences_match_no_audio(recordings, tmp_path):
    pairs = save(tmp_path, recordings, [own_mel(u) for u in (*recordings[1:], recordings[0])])
    assert all(compare_pair(pair, GIVEN).correlation < RELATED for pair in pairs)
    with pytest.raises(CorpusError, match=r"of 4 looked at 4 are not: that of demo-01 matches no .* say\.$"):
        check_pairs(pairs, GIVEN, 0)


@pytest.mark.parametrize("name", ["parallel-wavegan", "coqui", "bigvgan-22k-full", "matcha-ljspeech"])
def test_mels_of_another_dialect_are_refused_with_its_name(recordings, tmp_path, name):
    pairs = save(tmp_path, recordings, [as_a_decoder_would(own_mel(u, DIALECTS[name])) for u in recordings])
    names = "parallel-wavegan|espnet" if name == "parallel-wavegan" else name  # which are one
    with pytest.raises(CorpusError, match=rf"dialect.* They look like ({names}): train in that dialect"):
        check_pairs(pairs, GIVEN, 0)


def test_mels_of_louder_recordings_are_told_in_decibels(recordings, tmp_path):
    pairs = save(tmp_path, recordings, [own_mel(u) + 1.0 for u in recordings])
    assert compare_pair(pairs[0], GIVEN).level_db == pytest.approx(8.686, abs=0.01)  # one neper
    with pytest.raises(CorpusError, match=r"of another dialect or level \(\+8\.7 dB\)"):
        check_pairs(pairs, GIVEN, 0)


@pytest.mark.parametrize("shift", [0, 4, -4, 0.5, -0.5, -2.5])
def test_each_frame_is_laid_beside_the_samples_that_it_describes(recordings, tmp_path, shift):
    """Computed of the samples that a piece holds, the mel is the one that was given."""
    hop, moved = MEL.hop_length, []
    for utterance in recordings:
        waveform = load_audio(utterance.path, MEL.sample_rate)
        begin = round(shift * hop)
        waveform = waveform[begin:] if begin >= 0 else F.pad(waveform, (-begin, 0))
        moved.append(LogMelSpectrogram(MEL)(waveform[None])[0])
    pairs, unusable = lay_beside(save(tmp_path, recordings, moved), GIVEN, shift)
    assert not unusable
    for pair in pairs:
        assert pair.samples % hop == 0
        samples = load_audio(pair.path, MEL.sample_rate)[pair.start : pair.start + pair.samples]
        frames = pair.samples // hop
        computed = LogMelSpectrogram(MEL)(samples[None])[0][:, 4 : frames - 4]  # away from the ends
        given = GIVEN.cut(pair, 4, frames - 8, frames)[:, 3:-3]
        torch.testing.assert_close(computed, given)


def test_beyond_its_ends_a_mel_repeats_its_first_and_last_frame(recordings, tmp_path):
    [pair], _ = lay_beside(save(tmp_path, recordings[:1], [own_mel(recordings[0])]), GIVEN, 0)
    frames = pair.samples // MEL.hop_length
    mel = own_mel(recordings[0])
    whole = GIVEN.cut(pair, 0, frames, frames)
    assert torch.equal(whole[:, 3:-3], mel[:, :frames])
    for column in (0, 1, 2):
        assert torch.equal(whole[:, column], mel[:, 0])
        assert torch.equal(whole[:, -1 - column], mel[:, frames - 1])


def batches(root: Path, **options: object) -> list[dict[str, torch.Tensor]]:
    data = VocoderDataModule(str(root), MEL, 3, segment_frames=8, num_workers=0, **options)
    data.trainer = SimpleNamespace(
        max_steps=6, global_step=0, global_rank=0, world_size=1, accumulate_grad_batches=1, accelerator=None
    )
    data.setup("fit")
    return [*data.train_dataloader(), *data.val_dataloader()]


@pytest.mark.parametrize("layout", ["bands_first", "frames_first"])
def test_training_on_a_recording_s_own_mels_is_training_without_any(tmp_path, layout):
    """To float32's last digits, for the segments' own are computed of another number of frames at once."""
    for utterance in read_corpus(DEMO):
        mel = own_mel(utterance)
        np.save(tmp_path / f"{utterance.path.stem}.npy", (mel if layout == "bands_first" else mel.T).numpy())
    module = VocoderModule(MEL, NetworkConfig(residual_channels=8, gate_channels=16, layers_per_cycle=3))
    for given, computed in zip(batches(DEMO, mels=str(tmp_path)), batches(DEMO), strict=True):
        assert "mel" in given
        assert "mel" not in computed
        assert torch.equal(module.target(given)[0], module.target(computed)[0])
        ours, theirs = module.condition(given), module.condition(computed)
        torch.testing.assert_close(ours.context, theirs.context, rtol=0, atol=1e-3)


def test_a_shift_larger_than_what_lengths_may_differ_by_is_still_told(tmp_path):
    for utterance in read_corpus(DEMO):
        np.save(tmp_path / f"{utterance.path.stem}.npy", move(own_mel(utterance), SLACK + 3).numpy())
    with pytest.raises(CorpusError, match=rf"are {SLACK + 3} frames early.*--data\.mel_shift={SLACK + 3}`"):
        batches(DEMO, mels=str(tmp_path))


def test_recordings_without_a_mel_are_left_out_and_counted(tmp_path, caplog):
    utterances = read_corpus(DEMO)
    for utterance in utterances[:-2]:
        np.save(tmp_path / f"{utterance.path.stem}.npy", own_mel(utterance).numpy())
    with caplog.at_level(logging.WARNING):
        batches(DEMO, mels=str(tmp_path))
    assert f"without 2 of {len(utterances)} recordings, which have no mel in" in caplog.text


def test_a_mel_is_found_by_id_and_by_the_recording_s_name(tmp_path):
    utterances = [Utterance("p1/001", Path("p1/001_mic1.flac")), Utterance("p2/001", Path("p2/001_mic1.flac"))]
    for place in ("p1/001.npy", "vctk/p2/001.pt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    found, without = find_mels({"vctk": utterances}, tmp_path)
    assert [str(u.mel.relative_to(tmp_path)) for u in found["vctk"]] == ["p1/001.npy", "vctk/p2/001.pt"]
    assert without == []
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "001.npy").touch()
    with pytest.raises(CorpusError, match=r"001\.npy could be the mel of p1/001 or of p2/001\. Put mels into folders"):
        find_mels({"vctk": utterances}, tmp_path / "flat")


def test_a_folder_without_the_mels_says_which_names_it_looked_for(tmp_path):
    with pytest.raises(CorpusError, match=r"none for any of 1 of demo: no a\.npy, a\.npz or a\.pt, say"):
        find_mels({"demo": [Utterance("a", Path("a.wav"))]}, tmp_path)
    with pytest.raises(CorpusError, match=r"there is none at .*nowhere"):
        find_mels({}, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda mel: mel[:, : -SLACK - 1], f"frames beside audio of .*at most {SLACK} more or less"),
        (lambda mel: mel[:70], r"must have shape \(80, frames\)"),
        (lambda mel: mel * float("nan"), "holds NaN"),
        (lambda mel: mel[:, :0], "holds no frames"),
    ],
    ids=["short", "bands", "nan", "empty"],
)
def test_a_mel_that_cannot_be_laid_beside_its_audio_is_named_with_the_reason(recordings, tmp_path, spoil, reason):
    first, *rest = recordings
    pairs = save(tmp_path, recordings, [spoil(own_mel(first)), *(own_mel(u) for u in rest)])
    laid, unusable = lay_beside(pairs, GIVEN, 0)
    assert [u.id for u in laid] == [u.id for u in rest]
    assert list(unusable) == [str(tmp_path / "demo-01.npy")]
    assert re.search(reason, unusable[str(tmp_path / "demo-01.npy")])


@pytest.mark.parametrize("shift", [0.25, float("nan"), float("inf")])
def test_a_shift_is_in_half_frames(recordings, shift):
    with pytest.raises(CorpusError, match="a number of frames and half frames"):
        lay_beside(recordings, GIVEN, shift)


def test_a_gain_would_make_a_given_mel_wrong(tmp_path):
    np.save(tmp_path / "demo-01.npy", np.zeros((80, 9), np.float32))
    with pytest.raises(CorpusError, match=r"data\.gain_db, timbre_db or speed changes that\. Leave it out"):
        batches(DEMO, mels=str(tmp_path), gain_db=(-6.0, 0.0))
