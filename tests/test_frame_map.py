from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from conftest import speech_like_mel, tiny_config, tiny_mel_config, tiny_network
from vocoder.config import MelConfig
from vocoder.features.conversion import compare, convert_mel
from vocoder.features.dialects import DIALECTS
from vocoder.features.frame_map import FrameMap, count_frames, retime
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.vocoder import Vocoder

PAIRS = [("nv-wavenet", "hifigan"), ("hifigan", "parallel-wavegan-24k"), ("cosyvoice2", "hifigan"),
         ("bigvgan-44k", "tacotron2"), ("tacotron2", "speecht5")]  # fmt: skip


def bands_first(name: str) -> MelConfig:
    return replace(DIALECTS[name], layout="bands_first")


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_click_stays_where_it_is_in_time(source: str, target: str) -> None:
    places = []
    for mel in (bands_first(source), bands_first(target)):
        waveform = torch.zeros(1, mel.sample_rate)
        waveform[0, round(0.437 * mel.sample_rate)] = 0.9
        values = LogMelSpectrogram(mel)(waveform)
        if not places:
            values = convert_mel(values, mel, bands_first(target), approximate=True)
        power = values[0].exp().mean(dim=0) if bands_first(target).log == "ln" else (10 ** values[0]).mean(dim=0)
        power = power - power.min()
        places.append(float((power * torch.arange(len(power))).sum() / power.sum()))
    assert abs(places[0] - places[1]) < 0.2  # of a frame: half a hop of framing is more


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_constant_mel_stays_constant_and_lasts_as_long(source: str, target: str) -> None:
    a, b = bands_first(source), bands_first(target)
    for frames in (1, 2, 37, 200):
        mel = torch.randn(1, a.n_mels, 1).expand(-1, -1, frames)
        moved = retime(mel, a, b)
        assert torch.equal(moved, mel[..., :1].expand_as(moved))
        seconds = frames * a.hop_length / a.sample_rate
        apart = b.hop_length / b.sample_rate
        assert moved.shape[-1] == count_frames(frames, a, b) == max(1, math.floor(seconds / apart + 0.5))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("size", [1, 3, 64])
def test_chunks_change_no_bit(source: str, target: str, size: int) -> None:
    a, b = bands_first(source), bands_first(target)
    mel, frame_map = torch.randn(2, a.n_mels, 101), FrameMap(a, b)
    pieces = [frame_map.push(piece) for piece in mel.split(size, dim=-1)]
    pieces.append(frame_map.push(mel[..., :0], last=True))
    assert torch.equal(torch.cat(pieces, dim=-1), retime(mel, a, b))


def test_frames_of_the_same_period_pass_as_they_are() -> None:
    mel = torch.randn(1, 80, 9)
    assert retime(mel, DIALECTS["tacotron2"], DIALECTS["hifigan"]) is mel


def test_the_error_is_told_and_permission_needed() -> None:
    fit = compare("nv-wavenet", "hifigan")
    assert (fit.verdict, fit.delay) == ("approximate", 0)
    assert 0 < fit.error_db < 2
    with pytest.raises(ValueError, match="Pass approximate=True"):
        convert_mel(torch.zeros(80, 4), "nv-wavenet", "hifigan")


def test_infer_many_and_streams_make_what_infer_makes() -> None:
    config = tiny_config(mel=tiny_mel_config())
    model, other = Vocoder(config, tiny_network(config)), tiny_mel_config(hop_length=20)
    mel = speech_like_mel(other, 41)[0]
    options = {"dialect": other, "approximate": True, "seed": 3}
    whole = model.infer(mel, **options)
    assert len(whole) == count_frames(41, other, config.mel) * 16 == 51 * 16
    assert torch.equal(model.infer_many([mel], **options)[0], whole)
    stream = model.stream(**options)
    assert stream.latency > model.latency
    assert torch.equal(torch.cat(list(stream.over(mel.split(7, dim=1)))), whole)
