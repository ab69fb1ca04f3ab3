"""Speech that was recorded upside down is found, by the side to which the excitation's pulses point."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from vocoder.config import MelConfig
from vocoder.data.corpora import Utterance
from vocoder.data.layouts import read_corpus
from vocoder.data.polarity import estimate_polarity
from vocoder.data.segments import SegmentCutter

SPEECH = os.environ.get("VOCODER_SPEECH")
RATE, MEL = 22_050, MelConfig()


def write_vowel(path: Path, sign: float, pitch: float = 120.0, seconds: float = 1.0) -> Utterance:
    """Pulses of one sign through three formants, with some breath."""
    length = int(seconds * RATE)
    pulses = -1.0 * (np.arange(length) % round(RATE / pitch) == 0) + 0.01 * np.random.default_rng(0).normal(size=length)
    for formant, bandwidth in ((500, 80), (1500, 120), (2500, 160)):
        radius = np.exp(-np.pi * bandwidth / RATE)
        pulses = scipy.signal.lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], pulses)
    soundfile.write(path, sign * 0.3 * pulses / np.abs(pulses).max(), RATE)
    return Utterance(path.stem, path, length)


def test_pulses_to_either_side_give_either_polarity(tmp_path: Path) -> None:
    assert estimate_polarity([write_vowel(tmp_path / "a.wav", 1.0)], MEL) == 1
    assert estimate_polarity([write_vowel(tmp_path / "b.wav", -1.0)], MEL) == -1


def test_a_gain_changes_no_polarity(tmp_path: Path) -> None:
    for index, gain in enumerate((1.0, 0.03)):
        assert estimate_polarity([write_vowel(tmp_path / f"{index}.wav", -gain)], MEL) == -1


def test_most_utterances_decide_and_short_ones_say_nothing(tmp_path: Path) -> None:
    signs = [-1.0, -1.0, 1.0]
    corpus = [write_vowel(tmp_path / f"{index}.wav", sign) for index, sign in enumerate(signs)]
    corpus.append(write_vowel(tmp_path / "short.wav", 1.0, seconds=0.02))
    assert estimate_polarity(corpus, MEL) == -1


def test_what_says_nothing_stays_as_it_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    assert estimate_polarity([Utterance("silence", tmp_path / "silence.wav", RATE)], MEL) == 1


def test_an_utterance_is_read_by_its_polarity(tmp_path: Path) -> None:
    utterance, cut = write_vowel(tmp_path / "a.wav", 1.0), SegmentCutter(256, (0, 0))
    upright, turned = (cut(one, 3, 2)["waveform"] for one in (utterance, replace(utterance, polarity=-1)))
    assert upright.abs().max() > 0.01
    assert (turned == -upright).all()


@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of real speech")
@pytest.mark.parametrize(("corpus", "polarity"), [("kathleen", 1), ("kerstin", 1), ("many/ljspeech", -1)])
def test_real_corpora_are_found_either_way_up(corpus: str, polarity: int) -> None:
    utterances = read_corpus(Path(SPEECH or "") / corpus)
    halves = utterances[::2], utterances[1::2]
    assert [estimate_polarity(half, MEL) for half in halves] == [polarity, polarity]
