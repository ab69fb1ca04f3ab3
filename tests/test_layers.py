from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.config import NetworkConfig
from vocoder.model.layers import GatedResidualLayer, GatedUnit, StackTaps, operand_dtype

SHAPES = [(2, 1), (2, 4), (3, 2), (3, 16), (4, 1)]  # (kernel_size, dilation); 16 reaches beyond the segment

CONFIG = NetworkConfig(residual_channels=5, gate_channels=8, conditioning_channels=3)


def random_layer(kernel_size: int = 2, dilation: int = 2, residual_scale: float = 1.0) -> GatedResidualLayer:
    layer = GatedResidualLayer(replace(CONFIG, kernel_size=kernel_size, residual_scale=residual_scale), dilation)
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.normal_(layer.residual.bias)
    return layer


def random_inputs(time: int = 12, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    x, h = torch.randn(2, time, 5, dtype=dtype), torch.randn(2, time, 3, dtype=dtype)
    return x.requires_grad_(), h.requires_grad_()


def stack_by_padding(x: Tensor, h: Tensor, kernel_size: int, dilation: int) -> Tensor:
    shifts = [(kernel_size - 1 - tap) * dilation for tap in range(kernel_size)]
    taps = [F.pad(x, (0, 0, shift, 0))[:, : x.shape[1]] for shift in shifts]
    return torch.cat([*taps, h], dim=-1)


def gate_by_chunks(a: Tensor) -> Tensor:
    a_filter, a_gate = a.chunk(2, dim=-1)
    return torch.tanh(a_filter) * torch.sigmoid(a_gate)


@pytest.mark.parametrize(("kernel_size", "dilation"), SHAPES)
def test_stacking_taps_has_the_right_gradient(kernel_size: int, dilation: int) -> None:
    assert torch.autograd.gradcheck(StackTaps.apply, (*random_inputs(), kernel_size, dilation))


@pytest.mark.parametrize(("kernel_size", "dilation"), SHAPES)
def test_stacking_taps_equals_padding_and_concatenating(kernel_size: int, dilation: int) -> None:
    x, h = random_inputs()
    ours, plain = StackTaps.apply(x, h, kernel_size, dilation), stack_by_padding(x, h, kernel_size, dilation)
    assert torch.equal(ours, plain)
    grad = torch.randn_like(ours)
    for a, b in zip(torch.autograd.grad(ours, (x, h), grad), torch.autograd.grad(plain, (x, h), grad), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_gate_has_the_right_gradient() -> None:
    assert torch.autograd.gradcheck(GatedUnit.apply, (torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True),))


def test_the_gate_equals_tanh_times_sigmoid() -> None:
    a = (3 * torch.randn(2, 6, 8, dtype=torch.float64)).requires_grad_()
    ours, plain = GatedUnit.apply(a), gate_by_chunks(a)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-15)  # 2 σ(2x) - 1 rounds otherwise than tanh(x)
    grad = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, a, grad)[0], torch.autograd.grad(plain, a, grad)[0], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("value", [0.0, 30.0, -30.0, 1e4, -1e4])
def test_a_saturated_gate_stays_finite(value: float) -> None:
    a = torch.full((1, 1, 4), value, requires_grad=True)
    z = GatedUnit.apply(a)
    z.sum().backward()
    assert z.isfinite().all()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize(("kernel_size", "dilation"), SHAPES)
@pytest.mark.parametrize("residual_scale", [1.0, 0.5**0.5])
def test_a_layer_equals_a_dilated_convolution(kernel_size: int, dilation: int, residual_scale: float) -> None:
    # The usual formulation: a causal Conv1d for W, a 1x1 for V, tanh · sigmoid, a 1x1 back into the stream.
    layer = random_layer(kernel_size, dilation, residual_scale).double()
    x, h = random_inputs()
    weight = layer.W.view(8, kernel_size, 5).transpose(1, 2)
    padded = F.pad(x.transpose(1, 2), ((kernel_size - 1) * dilation, 0))
    a = F.conv1d(padded, weight, layer.bias, dilation=dilation) + F.conv1d(h.transpose(1, 2), layer.V.unsqueeze(-1))
    expected_z = gate_by_chunks(a.transpose(1, 2))
    expected_x = (x + layer.residual(expected_z)) * residual_scale
    following, z = layer(x, h)
    torch.testing.assert_close(z, expected_z, rtol=0, atol=1e-12)
    torch.testing.assert_close(following, expected_x, rtol=0, atol=1e-12)


def test_one_step_equals_the_same_step_of_a_whole_segment() -> None:
    layer = random_layer(kernel_size=3, dilation=2).double()
    x, h = random_inputs()
    following, z = layer(x, h)
    for t in (4, 7, 11):
        step = layer.gated(torch.cat([x[:, t - 4], x[:, t - 2], x[:, t], h[:, t]], dim=-1))
        torch.testing.assert_close(step, z[:, t], rtol=0, atol=1e-12)
        torch.testing.assert_close(layer.add_residual(x[:, t], step), following[:, t], rtol=0, atol=1e-12)


def test_a_silent_layer_passes_the_stream_on() -> None:
    # No input and no bias give z = tanh(0) σ(0) = 0, and the stream is its own successor.
    layer = random_layer()
    torch.nn.init.zeros_(layer.bias)
    torch.nn.init.zeros_(layer.residual.bias)
    following, z = layer(torch.zeros(1, 4, 5), torch.zeros(1, 4, 3))
    assert not z.any()
    assert not following.any()


def test_the_last_layer_has_no_way_back_into_the_stream() -> None:
    layer = GatedResidualLayer(CONFIG, dilation=1, is_last=True)
    assert {name for name, _ in layer.named_parameters()} == {"W", "V", "bias"}
    x, h = random_inputs(dtype=torch.float32)
    assert layer(x, h)[0] is x


def test_gradients_reach_every_weight() -> None:
    layer = random_layer().double()
    following, z = layer(*random_inputs())
    (following.square().mean() + z.square().mean()).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_bfloat16_stays_close_and_leaves_the_stream_alone() -> None:
    layer = random_layer()
    x, h = random_inputs(dtype=torch.float32)
    following, z = layer(x, h)
    with torch.autocast("cpu", torch.bfloat16):
        assert operand_dtype(x) == torch.bfloat16
        low_following, low_z = layer(x, h.to(torch.bfloat16))
    assert low_z.dtype == torch.bfloat16
    assert low_following.dtype == torch.float32
    # bfloat16 keeps 8 bits: a, a sum of 13 products of order one, is off by some 2^-8, and z no more than that.
    torch.testing.assert_close(low_z.float(), z, rtol=0, atol=0.05)
    torch.testing.assert_close(low_following, following, rtol=0, atol=0.1)
    grads = []
    for out in (low_following, following):
        layer.zero_grad()
        out.square().mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]))
    assert F.cosine_similarity(*grads, dim=0) > 0.995


def test_operands_have_the_streams_type_without_autocast() -> None:
    assert operand_dtype(torch.zeros(1)) == torch.float32
    assert operand_dtype(torch.zeros(1, dtype=torch.float64)) == torch.float64
