"""What a network's waveform is beside the true one is undone, exactly and in any chunks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from vocoder.config import WaveformConfig
from vocoder.features.mel import pre_emphasis
from vocoder.inference.deemphasis import Deemphasis

R9Y9 = WaveformConfig(pre_emphasis=0.85, gain=0.55)


@pytest.mark.parametrize("config", [R9Y9, WaveformConfig(0.97), WaveformConfig(gain=0.5)], ids=str)
def test_it_is_the_inverse_of_emphasis_and_gain(config: WaveformConfig) -> None:
    waveform = torch.rand(2, 500) - 0.5
    made = config.gain * pre_emphasis(waveform, config.pre_emphasis)
    torch.testing.assert_close(Deemphasis(config, 2)(made), waveform, rtol=0, atol=1e-5)


def test_it_is_the_documented_recursion() -> None:
    made = torch.rand(1, 500) * 0.1 - 0.05
    expected = scipy.signal.lfilter([1 / 0.55], [1, -0.85], made.double().numpy())
    np.testing.assert_allclose(Deemphasis(R9Y9)(made).numpy(), expected, rtol=0, atol=1e-7)


def test_chunks_change_no_bit() -> None:
    made = torch.rand(2, 300) - 0.5
    in_chunks = Deemphasis(R9Y9, 2)
    pieces = [in_chunks(made[:, start:stop]) for start, stop in ((0, 1), (1, 1), (1, 120), (120, 300))]
    assert torch.equal(torch.cat(pieces, dim=1), Deemphasis(R9Y9, 2)(made))


def test_what_goes_beyond_full_scale_is_clipped_for_the_listener_only() -> None:
    made = torch.tensor([[1.0, -0.5, -0.5]])
    restored = Deemphasis(WaveformConfig(pre_emphasis=0.5, gain=0.5))(made)
    torch.testing.assert_close(restored, torch.tensor([[1.0, 0.0, -1.0]]))  # 2, then 0 and not -0.5, then -1


def test_a_waveform_as_recorded_passes_as_it_is() -> None:
    made = torch.rand(1, 9)
    assert Deemphasis(WaveformConfig())(made) is made
