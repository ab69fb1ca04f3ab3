"""Planted bursts, clicks and ramps are found, and what is none of these is left in peace."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from test_measures import MEL, RATE, look, noise, speech
from vocoder.data.layouts import read_corpus
from vocoder.evaluation.baselines import griffin_lim
from vocoder.evaluation.measures.analysis import Undefined
from vocoder.evaluation.measures.artefacts import band_power, bursts, clicks, level_drift
from vocoder.features.audio import load_audio
from vocoder.features.mel import LogMelSpectrogram

SPEECH = os.environ.get("VOCODER_SPEECH")
MARK = RATE // 2  # between two planted artefacts, so that each is one


def level() -> Tensor:
    """Speech at the level of recordings, about -26 dB."""
    waveform = speech(10.0)
    return waveform * 0.05 / waveform.square().mean().sqrt()


def plant(waveform: Tensor, artefact: Tensor, seed: int = 3) -> tuple[Tensor, int]:
    """Add an artefact once in each half second, at a place of its own, of either sign; and how many there are."""
    generator, copy, count = torch.Generator().manual_seed(seed), waveform.clone(), 0
    for start in range(0, len(waveform) - MARK, MARK):
        place = start + int(torch.randint(MARK - len(artefact) - RATE // 20, (1,), generator=generator))
        copy[place : place + len(artefact)] += artefact * (1 - 2 * (count % 2))
        count += 1
    return copy, count


def number(per_minute: float, waveform: Tensor) -> int:
    return round(per_minute * len(waveform) / RATE / 60)


def burst() -> Tensor:
    """20 ms of noise at -20 dB."""
    return noise(0.1, level=0.1)[: RATE // 50]


def ramp(waveform: Tensor, decibels: float) -> Tensor:
    return waveform * 10 ** (torch.linspace(0, decibels, len(waveform)) / 20)


def test_power_in_bands_adds_up_to_the_power() -> None:
    waveform = noise(5.0)
    powers = band_power(look(waveform))
    # Twenty frames at either end of five hundred see beyond the ends; the estimate of a noise's power is a noise.
    assert float(powers.sum(dim=0).mean()) == pytest.approx(0.01, rel=0.03)
    widths = torch.tensor([500.0, 500, 1000, 2000, 4000, RATE / 2 - 8000])
    assert powers.mean(dim=1).tolist() == pytest.approx((0.01 * widths / widths.sum()).tolist(), rel=0.1)


def test_a_tone_is_in_its_band() -> None:
    tone = 0.1 * torch.sin(2 * math.pi * 3000 * torch.arange(RATE) / RATE)
    powers = band_power(look(tone)).mean(dim=1)
    assert float(powers[3]) == pytest.approx(0.1**2 / 2, rel=0.02)
    assert float(powers.sum() - powers[3]) < 1e-3 * float(powers[3])


def test_bursts_are_counted_in_minutes() -> None:
    original = level()
    copy, count = plant(original, burst())
    found = number(bursts(look(original), look(copy)), original)
    assert 0.9 * count <= found <= count


def test_clicks_are_counted_in_minutes() -> None:
    original = level()
    copy, count = plant(original, torch.tensor([0.3]))
    found = number(clicks(look(original), look(copy)), original)
    assert 0.9 * count <= found <= count


def test_a_jump_of_the_waveform_is_a_click() -> None:
    original = level()
    # A jump bends the waveform once by its height, where a click does twice in opposite ways.
    copy, count = plant(original, torch.linspace(0.6, 0, RATE // 20))
    assert number(clicks(look(original), look(copy)), original) >= 0.9 * count


def test_a_burst_is_one_however_long_it_lasts() -> None:
    original = level()
    copy = original.clone()
    copy[RATE : 2 * RATE] += noise(1.1, 0.3)[:RATE]
    assert number(bursts(look(original), look(copy)), original) == 1


def test_bursts_of_noise_are_no_clicks() -> None:
    original = level()
    copy, count = plant(original, burst())
    assert number(clicks(look(original), look(copy)), original) <= 0.1 * count


@pytest.mark.parametrize("decibels", [-6.0, 3.0, 12.0])
def test_a_ramp_of_the_level_drifts_by_two_thirds_of_it(decibels: float) -> None:
    original = level()
    # Thirds of speech are not centred where thirds of time are.
    drift = level_drift(look(original), look(ramp(original, decibels)))
    assert drift == pytest.approx(2 / 3 * decibels, rel=0.1)


def test_a_gain_is_no_drift() -> None:
    original = level()
    for gain in (0.3, 2.0):
        assert level_drift(look(original), look(gain * original)) == pytest.approx(0, abs=1e-6)


def test_another_draw_of_the_noise_is_no_artefact() -> None:
    time = torch.arange(10 * RATE) / RATE
    syllables = 0.001 + (2 * math.pi * 2 * time).sin().clamp(min=0)
    one, other = (look(noise(10.1, 0.05, seed)[: len(time)] * syllables) for seed in (1, 2))
    assert bursts(one, other) == 0
    assert clicks(one, other) == 0
    assert abs(level_drift(one, other)) < 0.5


def test_what_only_the_recording_has_is_no_artefact_of_the_copy() -> None:
    original = level()
    loud, _ = plant(original, burst())
    clicked, _ = plant(original, torch.tensor([0.3]))
    assert bursts(look(loud), look(original)) == 0
    assert clicks(look(clicked), look(original)) == 0


def test_a_whisper_of_noise_in_a_pause_is_no_burst() -> None:
    original = torch.cat([level(), torch.zeros(2 * RATE)])
    assert bursts(look(original), look(original + noise(13.0, 0.001)[: len(original)])) == 0


@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_what_is_counted_does_not_depend_on_the_loudness(gain: float) -> None:
    original = level()
    copy, _ = plant(plant(original, burst())[0], torch.tensor([0.3]), seed=8)
    for measure in (bursts, clicks):
        found = measure(look(original), look(copy))
        assert measure(look(gain * original), look(gain * copy)) == found


def test_of_a_silent_recording_nothing_is_defined() -> None:
    for measure in (bursts, clicks, level_drift):
        with pytest.raises(Undefined, match="the recording is silent"):
            measure(look(torch.zeros(len(noise()))), look(noise()))


def test_where_a_third_is_a_pause_there_is_no_drift() -> None:
    original = torch.cat([torch.zeros(RATE), noise()])
    with pytest.raises(Undefined, match="is a pause"):
        level_drift(look(original), look(original))


@pytest.fixture(scope="module")
def recordings() -> list[Tensor]:
    """Three utterances of every speaker."""
    if SPEECH is None:
        pytest.skip("VOCODER_SPEECH names no folder of speech")
    folders = [path for pattern in ("k*", "many/*") for path in sorted(Path(SPEECH).glob(pattern))]
    corpora = [read_corpus(folder) for folder in folders]
    chosen = [u for corpus in corpora for u in corpus[:: max(1, len(corpus) // 3)][:3]]
    return [load_audio(u.path, RATE)[: 8 * RATE] for u in chosen]


@pytest.mark.slow
def test_nine_artefacts_in_ten_are_found_in_real_speech(recordings: list[Tensor]) -> None:
    for artefact, measure in ((burst(), bursts), (torch.tensor([0.3]), clicks)):
        planted = found = 0
        for original in recordings:
            copy, count = plant(original, artefact)
            planted += count
            found += min(count, number(measure(look(original), look(copy)), original))
        assert found >= 0.9 * planted


@pytest.mark.slow
def test_recordings_and_griffin_lim_have_next_to_none(recordings: list[Tensor]) -> None:
    count, seconds = 0, 0.0
    for waveform in recordings:
        frames = min(len(waveform), 3 * RATE) // MEL.hop_length
        original = waveform[: frames * MEL.hop_length]
        copy = griffin_lim(LogMelSpectrogram(MEL)(original[None])[0, :, :frames], MEL)
        assert bursts(look(original), look(original)) == clicks(look(original), look(original)) == 0
        count += number(bursts(look(original), look(copy)) + clicks(look(original), look(copy)), original)
        seconds += len(original) / RATE
    assert count <= seconds / 60  # one in a minute


@pytest.mark.slow
def test_a_ramp_shows_in_real_speech(recordings: list[Tensor]) -> None:
    long = [one for one in recordings if len(one) > 2 * RATE]
    found = [level_drift(look(one), look(ramp(one, 6.0))) for one in long]
    assert sum(2 < drift < 6 for drift in found) >= 0.9 * len(long)
