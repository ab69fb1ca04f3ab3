"""Training by ear: what the network makes from its own past, beside the recording.

Likelihood asks for the next sample after a past that was recorded; generation lives on a past of its own, in which
every error stays. So the network also makes each segment freely, twice, and a score of the copies' spectra joins the
loss. The score needs no adversary: in expectation it is smallest where copies are distributed as recordings are
(Gritsenko et al. 2020, "A spectral energy distance for parallel speech synthesis", arXiv:2008.01160, eq. 3). What it
gained is in `docs/learning.md`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vocoder.engines.cpu.rollout import Rollout
from vocoder.engines.noise import draw_noise
from vocoder.model.wavenet import Conditioning, WaveNet

RESOLUTIONS = (2048, 1024, 512, 256, 128)  # samples of a window: from single harmonics to single pulses
START_FRAMES = 6  # of a copy, which begins in silence amid speech, and needs a while to fall into step
BARELY_HEARD = 0.01  # of a frame's mean magnitude: weaker bins are not told apart
SILENCE = 1e-5  # magnitude of a bin, for windows of unit power


def free_running_score(
    network: WaveNet, conditioning: Conditioning, waveform: Tensor, mask: Tensor, seeds: Tensor
) -> Tensor:
    """Score two free copies of each segment against the recording; its gradient says how to make better ones.

    Args:
        network: The network, for which `vocoder.engines.cpu.rollout.check_rollout` passes.
        conditioning: The segments' conditioning.
        waveform: The recordings (batch, time), in [-1, 1).
        mask: The mask that is true where there is audio (batch, time).
        seeds: A seed for each segment (batch,), from which the copies' noise follows.

    Raises:
        ValueError: The segments are too short for the longest window.
    """
    start, time, hop_length = START_FRAMES * network.hop_length, waveform.shape[1], network.hop_length
    least = -(-(start + max(RESOLUTIONS)) // hop_length)
    if time < least * hop_length:
        raise ValueError(
            f"Free copies are scored after {START_FRAMES} frames with windows of {max(RESOLUTIONS)} samples, so "
            f"data.segment_frames must be at least {least}, but is {time // hop_length}. Set it, or "
            "`--model.free_running 0`."
        )
    noise = torch.cat([draw_noise(network.distribution, int(seed), [0, 1], 0, time)[..., 1] for seed in seeds])
    in_turn = torch.arange(len(seeds), device=waveform.device).repeat_interleave(2)
    copies = free_copies(network, conditioning.select(in_turn), noise.to(waveform.device))
    with torch.autocast(waveform.device.type, enabled=False):
        one, other = (copies * mask[in_turn])[:, start:].unflatten(0, (-1, 2)).unbind(1)
        return energy_score((waveform * mask)[:, start:], one, other)


def free_copies(network: WaveNet, conditioning: Conditioning, noise: Tensor) -> Tensor:
    """Make segments freely, from silence, with a gradient: (batch, time).

    A sample is location + scale · noise of a law that all samples before it have shaped. Going back in time tells what
    the loss says of each sample with all that follows from it; with that the laws of all samples, computed side by side
    as in training on recordings, have their gradient: that of the whole recursion.

    Args:
        network: The network.
        conditioning: The segments' conditioning.
        noise: The noise of each sample's law (batch, time).
    """
    rollout = Rollout(network, conditioning, noise)
    made = rollout.waveform.to(noise.device)
    _, location, log_scale = network(made, conditioning).unbind(-1)
    return FreeCopies.apply(location + log_scale.exp() * noise, made, rollout)  # type: ignore[no-untyped-call]


class FreeCopies(torch.autograd.Function):
    """The samples that were made; to those that the laws give for them goes the gradient, through all of the future."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, made: Tensor, rollout: Rollout) -> Tensor:
        ctx.rollout = rollout
        return made.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.rollout.pull(grad).to(grad.device), None, None


def energy_score(recording: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Give the mean over windows of d(recording, one) + d(recording, other) - d(one, other); all (batch, time).

    What keeps two copies apart is not held against them: noise that is another draw of the right noise is no error.
    """
    scores = []
    for n_fft in RESOLUTIONS:
        x, y, z = (magnitudes(waveform, n_fft) for waveform in (recording, one, other))
        level = x.mean(dim=1, keepdim=True)
        scores.append(distance(x, y, level) + distance(x, z, level) - distance(y, z, level))
    return torch.stack(scores).mean()


def magnitudes(waveform: Tensor, n_fft: int) -> Tensor:
    """Compute |STFT| (batch, bins, windows) of windows within the waveform, a quarter of their length apart."""
    hop_length = n_fft // 4
    window = torch.hann_window(n_fft, device=waveform.device)
    spectrum = torch.stft(waveform, n_fft, hop_length, window=window, center=False, return_complex=True)
    return spectrum.abs() / hop_length**0.5


def distance(a: Tensor, b: Tensor, level: Tensor) -> Tensor:
    """Say how far spectra are apart: mean |a - b| in units of the level, plus the r.m.s. of log a - log b.

    Both are norms, which is what makes the score proper (arXiv:2008.01160, eq. 5 has such a pair).
    """
    quiet = BARELY_HEARD * level + SILENCE
    linear = (a - b).abs().mean(dim=1) / (level.squeeze(1) + 10 * SILENCE)
    logarithmic = ((a + quiet).log() - (b + quiet).log()).square().mean(dim=1)
    return (linear + (logarithmic + 1e-8).sqrt()).mean()  # the root's slope is infinite at zero
