"""A stretch of a file is what stands there in the whole, also at another rate than the file's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.data.reading import read_stretch
from vocoder.features.audio import load_audio, resampled_length

RATES = (8000, 16_000, 22_050, 44_100, 48_000)
TOLERANCE = 2**-15 / 100  # a hundredth of a level of 16 bits


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Noise in two channels, the hardest for a filter; half a second at a rate that no other divides."""
    return tmp_path / "noise.wav"


def write(path: Path, rate: int) -> Path:
    random = np.random.default_rng(0)
    soundfile.write(path, random.uniform(-0.5, 0.5, (rate // 2, 2)), rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("file_rate", RATES)
def test_a_stretch_is_what_stands_there_in_the_whole(noise, file_rate, rate):
    whole = load_audio(write(noise, file_rate), rate).numpy()
    assert len(whole) == resampled_length(file_rate // 2, file_rate, rate)
    random = np.random.default_rng(1)
    for start in (0, 1, len(whole) - 200, *random.integers(0, len(whole) - 200, 5)):
        stretch = read_stretch(noise, int(start), int(start) + 200, rate)
        np.testing.assert_allclose(stretch, whole[start : start + 200], atol=TOLERANCE)


def test_beyond_the_end_nothing_comes(noise):
    end = resampled_length(4000, 8000, 22_050)
    assert len(read_stretch(write(noise, 8000), end - 5, end + 50, 22_050)) == 5
    assert len(read_stretch(noise, end + 9000, end + 9050, 22_050)) == 0
    assert len(read_stretch(noise, 3995, 4050, None)) == 5
