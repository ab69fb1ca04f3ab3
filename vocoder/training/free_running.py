"""Training by ear: what the network makes from its own past, beside the recording.

Likelihood asks for the next sample after a past that was recorded; generation lives on a past of its own, in which
every error stays. So the network also makes each segment freely, twice, and a score of the copies' spectra joins the
loss. The score needs no adversary: in expectation it is smallest where copies are distributed as recordings are
(Gritsenko et al. 2020, "A spectral energy distance for parallel speech synthesis", arXiv:2008.01160, eq. 3).
"""

from __future__ import annotations

import copy
from dataclasses import fields

import torch
from torch import Tensor

from vocoder.config import NetworkConfig
from vocoder.engines import create_engine
from vocoder.engines.noise import draw_noise
from vocoder.model.wavenet import Conditioning, WaveNet

RESOLUTIONS = (2048, 1024, 512, 256, 128)  # samples of a window: from single harmonics to single pulses
START_FRAMES = 6  # of a copy, which begins in silence amid speech, and needs a while to fall into step
BARELY_HEARD = 0.01  # of a frame's mean magnitude: weaker bins are not told apart
SILENCE = 1e-5  # magnitude of a bin, for windows of unit power
FARTHEST = 8.0  # deviations: a sample that was cut off at full scale tells no more of its noise


def check_law(config: NetworkConfig) -> None:
    """Refuse laws that a gradient cannot follow by location and scale alone.

    Raises:
        ValueError: The law is a mixture or categorical, or there is no linear prediction.
    """
    law = config.distribution
    if law.name == "mu_law_categorical" or law.num_components > 1 or not config.linear_prediction_order:
        raise ValueError(
            f"Free copies teach a network with linear prediction and a single Gaussian or logistic, but this one has "
            f"linear_prediction_order {config.linear_prediction_order} and the distribution {law.name} with "
            f"num_components {law.num_components}. Set `--model.free_running 0`."
        )


def free_running_score(
    network: WaveNet, conditioning: Conditioning, waveform: Tensor, mask: Tensor, seeds: Tensor
) -> Tensor:
    """Score two free copies of each segment against the recording; its gradient says how to make better ones.

    Args:
        network: The network, whose laws are single Gaussians or logistics around a linear prediction.
        conditioning: The segments' conditioning.
        waveform: The recordings (batch, time), in [-1, 1).
        mask: Where there is audio (batch, time).
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
    noise = torch.cat([draw_noise(network.distribution, int(seed), [0, 1], 0, time) for seed in seeds])
    in_turn = torch.arange(len(seeds), device=waveform.device).repeat_interleave(2)
    pairs = conditioning.select(in_turn)
    copies = attach(network, generate(network, pairs, noise).to(waveform.device), pairs)
    with torch.autocast(waveform.device.type, enabled=False):
        one, other = (copies * mask[in_turn])[:, start:].unflatten(0, (-1, 2)).unbind(1)
        return energy_score((waveform * mask)[:, start:], one, other)


@torch.no_grad()
def generate(network: WaveNet, conditioning: Conditioning, noise: Tensor) -> Tensor:
    """Make utterances of the same length freely, from silence, with the weights of this moment: (batch, time), CPU.

    On the CPU also where training is not: sample by sample a GPU is slower.
    """
    frozen = Conditioning(*(getattr(conditioning, part.name).detach().cpu() for part in fields(conditioning)))
    on_cpu = network if next(network.parameters()).device.type == "cpu" else copy.deepcopy(network).cpu()
    was_training = network.training
    engine = create_engine("auto", on_cpu.eval())
    made, _ = engine.generate(frozen, noise, engine.initial_state(len(noise)), consume=True)
    network.train(was_training)
    return made


def attach(network: WaveNet, made: Tensor, conditioning: Conditioning) -> Tensor:
    """Give samples that were made freely (batch, time) a gradient.

    Each is location + scale · noise, where the sample itself tells which noise it was; so weights move it through the
    law's location and scale. A sample that moves takes those after it along: through the linear predictor, which is
    followed exactly, and through what the network reads of its past, which is not.
    """
    _, location, log_scale = network(made, conditioning).unbind(-1)
    scale = log_scale.exp()
    noise = ((made - location) / scale).detach().clamp(-FARTHEST, FARTHEST)
    moved = location + scale * noise
    with torch.autocast(made.device.type, enabled=False):  # sums of thousands of samples need their digits
        return made + synthesise(moved - moved.detach(), conditioning.coefficients, network.hop_length)


def synthesise(excitation: Tensor, coefficients: Tensor, hop_length: int) -> Tensor:
    """Undo linear prediction: y[t] = excitation[t] + Σ_k a[k] · y[t - 1 - k], each frame with its own coefficients.

    A block of samples at a time: they solve a triangular system, and so does their gradient.

    Args:
        excitation: (batch, frames · hop_length).
        coefficients: (batch, frames, order).
        hop_length: The samples of a frame.
    """
    batch, _, order = coefficients.shape
    block = next(size for size in range(min(64, hop_length), hop_length + 1) if hop_length % size == 0)
    a = coefficients.repeat_interleave(hop_length // block, dim=1)
    # Row t of a block's matrix is [-a[order - 1], …, -a[0], 1] from column t on, one further than the row before.
    row = torch.cat([-a.flip(-1), a.new_ones(batch, a.shape[1], 1), a.new_zeros(batch, a.shape[1], block)], dim=-1)
    matrices = row.repeat(1, 1, block)[..., : block * (order + block)].unflatten(-1, (block, -1))
    past, pieces = excitation.new_zeros(batch, order, 1), []
    for piece, matrix in zip(excitation.unflatten(1, (-1, block, 1)).unbind(1), matrices.unbind(1), strict=True):
        known = piece - matrix[..., :order] @ past
        solved = torch.linalg.solve_triangular(matrix[..., order:], known, upper=False, unitriangular=True)
        past = torch.cat([past, solved], dim=1)[:, -order:]
        pieces.append(solved)
    return torch.cat(pieces, dim=1).squeeze(-1)


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
    """|STFT| (batch, bins, windows) of windows that lie within the waveform, a quarter of their length apart."""
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
