"""Training by ear: what the score of free copies rewards, and whence they come."""

from __future__ import annotations

import pytest
import torch

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.engines.cpu.library import library_obstacle
from vocoder.training.free_running import energy_score, free_copies, free_running_score

FRAMES = 140  # of 16 samples: as long as the longest window and the start before it

compiled = pytest.mark.skipif(library_obstacle() is not None, reason="there is no compiled library")


def gaussian(**changes):
    return tiny_config("gaussian", num_components=1, samples_per_step=4, recent_excitations=3, **changes)


@compiled
def test_every_weight_learns_from_free_copies():
    network = tiny_network(gaussian()).train()
    conditioning = network.condition(speech_like_mel(gaussian().mel, 8, batch=2))
    copies = free_copies(network, conditioning, torch.randn(2, 128))
    assert network.training  # as it was
    copies.square().sum().backward()
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


@compiled
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


@compiled
@torch.no_grad()
def test_what_lies_beyond_an_utterance_is_not_heard():
    network = tiny_network(gaussian())
    conditioning, waveform, mask, seeds = segments(network, 1)
    mask[:, -500:] = False
    louder = torch.where(mask, waveform, torch.ones(()))
    scores = [float(free_running_score(network, conditioning, x, mask, seeds)) for x in (waveform, louder)]
    assert scores[0] == scores[1]


@compiled
def test_segments_that_are_too_short_are_refused():
    network = tiny_network(gaussian())
    conditioning, waveform, mask, seeds = segments(network, 1)
    short = conditioning.slice_frames(0, 100)
    with pytest.raises(ValueError, match=r"data.segment_frames must be at least 134, but is 100"):
        free_running_score(network, short, waveform[:, :1600], mask[:, :1600], seeds)
