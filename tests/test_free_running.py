"""Training by ear: where the gradient of a free copy comes from, and what the score of copies rewards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.config import DistributionConfig, NetworkConfig
from vocoder.engines.noise import draw_noise
from vocoder.engines.reference import ReferenceEngine
from vocoder.model.prediction import predict
from vocoder.training.free_running import (
    attach,
    check_law,
    energy_score,
    free_running_score,
    generate,
    synthesise,
)

FRAMES = 140  # of 16 samples: as long as the longest window and the start before it


def gaussian(**changes):
    return tiny_config("gaussian", num_components=1, samples_per_step=4, recent_excitations=3, **changes)


def stable_coefficients(batch: int, frames: int, order: int = 16) -> torch.Tensor:
    return 0.05 * torch.randn(batch, frames, order)


@pytest.mark.parametrize("hop_length", [8, 48, 256, 275])
def test_synthesis_is_the_recursion_that_it_stands_for(hop_length):
    """Judged by a loop over samples; hops shorter than the predictor, and such as no power of two divides."""
    excitation, a = torch.randn(2, 3 * hop_length), stable_coefficients(2, 3)
    judge = np.zeros((2, 3 * hop_length))
    for t in range(3 * hop_length):
        for k in range(min(16, t)):
            judge[:, t] += a[:, t // hop_length, k].numpy() * judge[:, t - 1 - k]
        judge[:, t] += excitation[:, t].numpy()
    np.testing.assert_allclose(synthesise(excitation, a, hop_length).numpy(), judge, rtol=0, atol=1e-5)


def test_synthesis_undoes_linear_prediction():
    waveform, a = torch.randn(2, 4 * 64), stable_coefficients(2, 4)
    padded = torch.cat([torch.zeros(2, 16), waveform], dim=1)
    excitation = waveform - predict(padded, a, 64)
    torch.testing.assert_close(synthesise(excitation, a, 64), waveform, rtol=0, atol=1e-5)


def test_synthesis_has_the_gradient_of_the_recursion():
    excitation, a = torch.randn(1, 24, dtype=torch.float64, requires_grad=True), stable_coefficients(1, 3).double()
    assert torch.autograd.gradcheck(lambda e: synthesise(e, a, 8), excitation)


@pytest.mark.parametrize("index", [1, 2], ids=["location", "log-scale"])
def test_the_gradient_says_how_free_copies_move(index):
    """Judged by generating twice, a weight apart, a network that reads of its past but the linear prediction."""
    network = tiny_network(gaussian()).eval()
    with torch.no_grad():
        for reads in (network.input.weight, network.recent.weight):
            reads.zero_()
    conditioning = network.condition(speech_like_mel(gaussian().mel, 8))
    noise = draw_noise(network.distribution, 0, [0], 0, 128)
    listener = torch.randn(1, 128)  # any linear function of the waveform

    def copy() -> torch.Tensor:
        engine = ReferenceEngine(network)
        return engine.generate(conditioning, noise, engine.initial_state(1))[0]

    (listener * attach(network, copy(), conditioning)).sum().backward()
    bias, moved = network.output_2.bias, {}
    for step in (-0.1, 0.1):
        with torch.no_grad():
            bias[index] += step
            moved[step] = float((listener * copy()).sum())
            bias[index] -= step
    assert float(bias.grad[index]) == pytest.approx((moved[0.1] - moved[-0.1]) / 0.2, rel=0.02)


def test_attached_samples_are_those_that_were_made():
    network = tiny_network(gaussian()).train()
    conditioning = network.condition(speech_like_mel(gaussian().mel, 8, batch=2))
    made = generate(network, conditioning, draw_noise(network.distribution, 0, [0, 1], 0, 128))
    assert network.training  # as it was
    attached = attach(network, made, conditioning)
    torch.testing.assert_close(attached.detach(), made, rtol=0, atol=1e-7)
    attached.square().sum().backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not silent


def test_the_score_is_best_where_copies_are_as_recordings_are():
    """Noise of the right size scores best; so does the right tone, and not the tone without its noise."""
    time = torch.arange(4096) / 22_050
    tone = torch.sin(2 * torch.pi * 440 * time)

    def recordings(size: float) -> torch.Tensor:
        return 0.1 * (tone + size * torch.randn(64, 4096))

    true = recordings(1.0)
    scores = {size: float(energy_score(true, recordings(size), recordings(size))) for size in (0.0, 0.5, 1.0, 1.5)}
    assert min(scores, key=scores.__getitem__) == 1.0
    assert scores[1.0] < 0.9 * min(scores[0.5], scores[1.5], scores[0.0])


def segments(network, batch: int):
    conditioning = network.condition(speech_like_mel(gaussian().mel, FRAMES, batch=batch))
    waveform = 0.1 * torch.randn(batch, 16 * FRAMES)
    return conditioning, waveform, torch.ones(batch, 16 * FRAMES, dtype=torch.bool), torch.arange(5, 5 + batch)


@torch.no_grad()
def test_the_score_of_segments_is_the_mean_of_their_scores():
    """Each segment's copies follow from its own seed: so a run that goes on is as if it had never stopped."""
    network = tiny_network(gaussian())
    conditioning, waveform, mask, seeds = segments(network, 2)
    together = free_running_score(network, conditioning, waveform, mask, seeds)
    alone = [
        free_running_score(
            network, conditioning.select(torch.tensor([i])), waveform[i : i + 1], mask[i : i + 1], seeds[i : i + 1]
        )
        for i in (0, 1)
    ]
    assert float(together) == pytest.approx(float(sum(alone)) / 2, rel=1e-4)


@torch.no_grad()
def test_what_lies_beyond_an_utterance_is_not_heard():
    network = tiny_network(gaussian())
    conditioning, waveform, mask, seeds = segments(network, 1)
    mask[:, -500:] = False
    louder = torch.where(mask, waveform, torch.ones(()))
    scores = [float(free_running_score(network, conditioning, x, mask, seeds)) for x in (waveform, louder)]
    assert scores[0] == scores[1]


def test_segments_that_are_too_short_are_refused():
    network = tiny_network(gaussian())
    conditioning, waveform, mask, seeds = segments(network, 1)
    short = conditioning.slice_frames(0, 100)
    with pytest.raises(ValueError, match=r"data.segment_frames must be at least 134, but is 100"):
        free_running_score(network, short, waveform[:, :1600], mask[:, :1600], seeds)


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(distribution=DistributionConfig("mixture_of_logistics", 10)),
        NetworkConfig(samples_per_step=1, recent_excitations=0, linear_prediction_order=0),
    ],
)
def test_laws_that_a_gradient_cannot_follow_are_refused(network):
    with pytest.raises(ValueError, match=r"Set `--model.free_running 0`"):
        check_law(network)
