"""One WaveNet layer: dilated causal taps, the gated unit with its V-term, and the residual connection.

Activations are (batch, time, channels): a causal convolution with few taps then is one matrix product of the taps laid
side by side, which the processor's matrix units take as they are. The residual stream stays in float32; what is
multiplied may be bfloat16 under autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vocoder.config import NetworkConfig


def operand_dtype(x: Tensor) -> torch.dtype:
    """Give the type in which matrix products multiply here: autocast's where it is enabled, or else x's own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def apply_side_by_side(linear: nn.Linear, parts: Sequence[Tensor]) -> Tensor:
    """Give a linear layer's outputs (..., out) for inputs (..., part) laid side by side.

    Rows whose length is no multiple of four are filled up with zeros: some matrix products (MKL's on AMD, measured)
    round a row by where it lies in memory, and an utterance shall not depend on its place in a batch.
    """
    missing = -linear.in_features % 4
    if missing == 0:
        return linear(torch.cat([*parts], dim=-1))
    zeros = parts[0].new_zeros(*parts[0].shape[:-1], missing)
    return F.linear(torch.cat([*parts, zeros], dim=-1), F.pad(linear.weight, (0, missing)), linear.bias)


class StackTaps(torch.autograd.Function):
    """[x[t - (K-1)d], …, x[t - d], x[t], h[t]] side by side, in the operands' type.

    Autograd would give the same from pad and cat, with four more passes over memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, kernel_size: int, dilation: int) -> Tensor:
        batch, time, channels = x.shape
        ctx.shifts = [min((kernel_size - 1 - tap) * dilation, time) for tap in range(kernel_size)]
        ctx.channels = channels
        stacked = x.new_empty(batch, time, kernel_size * channels + h.shape[-1], dtype=h.dtype)
        for tap, shift in enumerate(ctx.shifts):
            slot = stacked[..., tap * channels : (tap + 1) * channels]
            slot[:, :shift] = 0
            slot[:, shift:] = x[:, : time - shift]
        stacked[..., kernel_size * channels :] = h
        return stacked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        channels, shifts, time = ctx.channels, ctx.shifts, grad.shape[1]
        grad_x = grad[..., (len(shifts) - 1) * channels : len(shifts) * channels].to(
            torch.promote_types(grad.dtype, torch.float32), copy=True
        )
        for tap, shift in enumerate(shifts[:-1]):
            grad_x[:, : time - shift] += grad[:, shift:, tap * channels : (tap + 1) * channels]
        return grad_x, grad[..., len(shifts) * channels :], None, None


class GatedUnit(torch.autograd.Function):
    """z = tanh(a_filter) ⊙ σ(a_gate), computed in float32 whatever the type of a: van den Oord et al. 2016, eq. 2.

    Keeps the two factors, from which both derivatives follow: tanh' = 1 - tanh², σ' = σ (1 - σ).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        a_filter, a_gate = a.to(torch.promote_types(a.dtype, torch.float32)).chunk(2, dim=-1)
        # tanh(x) = 2 σ(2x) - 1: on a CPU torch takes ten times as long for a tanh as for a sigmoid.
        filtered, gate = (2 * a_filter).sigmoid_().mul_(2).sub_(1), torch.sigmoid(a_gate)
        ctx.save_for_backward(filtered, gate)
        z = filtered * gate
        # Not `to` alone: where it converts nothing, torch.compile (torch 2.11) drops the gradient without a word.
        return z if z.dtype == a.dtype else z.to(a.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        filtered, gate = ctx.saved_tensors
        by_gate = grad.to(gate.dtype) * gate  # a product of two types is slow
        by_both = by_gate * filtered
        grad_a = torch.empty(*grad.shape[:-1], 2 * grad.shape[-1], dtype=grad.dtype, device=grad.device)
        grad_filter, grad_gate = grad_a.chunk(2, dim=-1)
        grad_filter.copy_(torch.addcmul(by_gate, by_both, filtered, value=-1))
        grad_gate.copy_(torch.addcmul(by_both, by_both, gate, value=-1))
        return grad_a


class GatedResidualLayer(nn.Module):
    """a = Σ_k W_k x[t - (K-1-k)d] + V h[t] + b;  z = tanh(a_filter) ⊙ σ(a_gate);  x ← (x + W_res z + b_res) · scale.

    van den Oord et al. 2016 (arXiv:1609.03499), figure 4 and section 2.5, where h also carries the speaker's embedding,
    so that the last columns of V are the paper's U.

    Args:
        config: The config of the network: the widths of x, of a (z has half of it) and of h, the number of taps K, and
            the factor on x on the way out.
        dilation: The distance d between taps, in steps.
        is_last: Whether this is the last layer: its x is never read, so it has no W_res.
    """

    def __init__(self, config: NetworkConfig, dilation: int, *, is_last: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.residual_scale = config.kernel_size, dilation, config.residual_scale
        width, gates = config.residual_channels, config.gate_channels
        self.W = nn.Parameter(torch.empty(gates, config.kernel_size * width))
        self.V = nn.Parameter(torch.empty(gates, config.conditioning_channels + config.embedding_channels))
        self.bias = nn.Parameter(torch.zeros(gates))
        self.residual = None if is_last else nn.Linear(gates // 2, width)
        for weight in (self.W, self.V):  # each term alone gives a the variance of its input
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        if self.residual is not None:
            nn.init.zeros_(self.residual.bias)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Run over a whole segment, the past before it taken as zero.

        Args:
            x: The residual stream (batch, time, residual_channels).
            h: The conditioning (batch, time, conditioning_channels), in the operands' type.

        Returns:
            The stream for the next layer, and z (batch, time, gate_channels / 2).
        """
        z = self.gated(StackTaps.apply(x, h, self.kernel_size, self.dilation))  # type: ignore[no-untyped-call]
        return self.add_residual(x, z), z

    def gated(self, stacked: Tensor) -> Tensor:
        """Compute z from taps and conditioning side by side (..., K · residual_channels + conditioning_channels)."""
        a = F.linear(stacked, torch.cat([self.W, self.V], dim=1), self.bias)
        return GatedUnit.apply(a)  # type: ignore[no-untyped-call]

    def add_residual(self, x: Tensor, z: Tensor) -> Tensor:
        """Give the residual stream after this layer; both arguments are (..., channels)."""
        if self.residual is None:
            return x
        x = x + self.residual(z)
        return x if self.residual_scale == 1.0 else x * self.residual_scale
