from __future__ import annotations

import pytest
import torch

from conftest import speech_like_mel, tiny_mel_config
from vocoder.model.conditioning import ContextNet, Upsampling, pad_frames

HOP_LENGTH = 16


def random_upsampling(taps: int = 3) -> Upsampling:
    upsampling = Upsampling(HOP_LENGTH, taps, "half_hop").double()
    torch.nn.init.normal_(upsampling.kernel)
    return upsampling


@pytest.mark.parametrize("framing", ["half_hop", "centered"])
@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_result_is_exactly_frames_times_hop_length(frames: int, taps: int, framing: str) -> None:
    c = torch.randn(2, frames + taps - 1, 4)
    assert Upsampling(HOP_LENGTH, taps, framing)(c).shape == (2, frames * HOP_LENGTH, 4)


@pytest.mark.parametrize("context_frames", [0, 1, 2])
def test_the_context_network_consumes_its_context(context_frames: int) -> None:
    mel = tiny_mel_config()
    net = ContextNet(mel, 6, context_frames)
    assert net(pad_frames(speech_like_mel(mel, 5, batch=2), context_frames)).shape == (2, 5, 6)


def test_v_commutes_with_upsampling() -> None:
    # What lets an engine project once per frame. float64: equal up to the order of summation.
    upsampling, v = random_upsampling(), torch.nn.Linear(4, 6, bias=False).double()
    c = torch.randn(2, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(v(upsampling(c)), upsampling(v(c)), rtol=0, atol=1e-12)


def test_upsampling_is_the_documented_sum() -> None:
    upsampling, c = random_upsampling(taps=5), torch.randn(1, 10, 2, dtype=torch.float64)
    h = upsampling(c)
    for t in (0, 1, 37, 6 * HOP_LENGTH - 1):
        frame, phase = divmod(t, HOP_LENGTH)
        # c starts taps // 2 frames early
        expected = sum(upsampling.kernel[phase, j] * c[0, frame + j] for j in range(5))
        torch.testing.assert_close(h[0, t], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("taps", [1, 3, 5])
def test_a_change_in_one_frame_touches_only_its_neighbours(taps: int) -> None:
    upsampling = random_upsampling(taps)
    c = torch.randn(1, 9 + taps - 1, 3, dtype=torch.float64)
    changed = c.clone()
    changed[0, 4 + taps // 2] += 1.0  # frame 4
    touched = (upsampling(c) != upsampling(changed)).any(dim=-1)[0].view(9, HOP_LENGTH).any(dim=1)
    assert touched.nonzero().flatten().tolist() == list(range(4 - taps // 2, 4 + taps // 2 + 1))


def test_a_change_in_one_mel_frame_touches_only_its_context() -> None:
    mel = tiny_mel_config()
    net, values = ContextNet(mel, 6, 2), speech_like_mel(mel, 15)
    changed = values.clone()
    changed[..., 7] += 1.0
    touched = (net(values) != net(changed)).any(dim=-1)[0]  # result f sees mel frames f to f + 4
    assert touched.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("framing", ["half_hop", "centered"])
def test_upsampling_starts_by_keeping_a_constant_constant(framing: str) -> None:
    h = Upsampling(HOP_LENGTH, 3, framing)(torch.full((1, 7, 2), 3.0))
    torch.testing.assert_close(h, torch.full_like(h, 3.0))


@pytest.mark.parametrize(("framing", "centre"), [("half_hop", 0.5), ("centered", 0.0)])
def test_upsampling_starts_by_keeping_a_ramp_a_ramp(framing: str, centre: float) -> None:
    # Frame k stands at sample (k + centre) · hop_length; linear interpolation of k is then t / hop_length - centre.
    ramp = torch.arange(-1.0, 6.0).view(1, 7, 1)
    h = Upsampling(HOP_LENGTH, 3, framing)(ramp)[0, :, 0]
    torch.testing.assert_close(h, torch.arange(5 * HOP_LENGTH) / HOP_LENGTH - centre)


def test_padding_repeats_the_outer_frames() -> None:
    mel = torch.arange(6.0).view(1, 2, 3)
    assert pad_frames(mel, 2)[0].tolist() == [[0, 0, 0, 1, 2, 2, 2], [3, 3, 3, 4, 5, 5, 5]]


def test_gradients_reach_every_weight() -> None:
    mel = tiny_mel_config()
    net, upsampling = ContextNet(mel, 6, 1), Upsampling(HOP_LENGTH, 3, "half_hop")
    upsampling(net(pad_frames(speech_like_mel(mel, 5), 2))).square().mean().backward()
    for name, parameter in [*net.named_parameters(), *upsampling.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
