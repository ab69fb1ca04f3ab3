"""Free running with a gradient: the same samples as an engine makes, and the derivative of the whole recursion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.config import DistributionConfig, NetworkConfig
from vocoder.engines.cpu import rollout
from vocoder.engines.cpu.library import instruction_sets, library_obstacle
from vocoder.engines.cpu.rollout import Rollout, check_rollout
from vocoder.engines.reference import ReferenceEngine

pytestmark = pytest.mark.skipif(library_obstacle() is not None, reason="there is no compiled library")

SHAPES = {
    "a step of four": {"samples_per_step": 4, "recent_excitations": 3},
    "a step of one": {"samples_per_step": 1, "recent_excitations": 2},
    "three taps": {"samples_per_step": 4, "recent_excitations": 5, "kernel_size": 3, "dilation_cycles": 1},
    "residual and skip scaled": {
        "samples_per_step": 8,
        "recent_excitations": 8,
        "residual_scale": 0.7,
        "skip_scale": 0.5,
    },
    "several voices": {"samples_per_step": 4, "recent_excitations": 3, "num_speakers": 2},
    "no multiples of eight": {
        "samples_per_step": 4,
        "recent_excitations": 3,
        "residual_channels": 7,
        "skip_channels": 9,
    },
}
FRAMES, BATCH = 6, 3


def network_and_conditioning(**shape):
    config = tiny_config("gaussian", num_components=1, **shape)
    network = tiny_network(config)
    with torch.no_grad():
        network.output_2.weight.mul_(0.5)  # sane: a network that roars leaves [-1, 1]
    speaker = torch.tensor([0, 1, 0]) if shape.get("num_speakers") else None
    conditioning = network.condition(speech_like_mel(config.mel, FRAMES, batch=BATCH), speaker)
    reach = torch.tensor([[torch.inf, 0.4, 0.1, torch.inf, 0.9, 0.02]])  # some laws are held, by one of the two or both
    return network, replace(conditioning, reach=reach.expand(BATCH, FRAMES))


def noise_of(network) -> Tensor:
    return 0.3 * torch.randn(BATCH, FRAMES * network.hop_length)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_samples_are_those_of_the_engine(shape):
    """But for rounding to levels: half a level each, which the recursion carries on."""
    network, conditioning = network_and_conditioning(**shape)
    noise = noise_of(network)
    engine = ReferenceEngine(network)
    pairs = torch.stack([torch.full_like(noise, 0.5), noise], dim=-1)
    expected = engine.generate(conditioning, pairs, engine.initial_state(BATCH))
    torch.testing.assert_close(Rollout(network, conditioning, noise).waveform, expected, rtol=0, atol=2e-3)


def recursion(network, conditioning, noise) -> Tensor:
    """Make the same samples one after the other through `WaveNet.forward` alone, so that autograd knows all of it."""
    made = torch.zeros(BATCH, 0)
    for t in range(noise.shape[1]):
        padded = torch.nn.functional.pad(made, (0, noise.shape[1] - t))
        law = network(padded, conditioning)[:, t]
        sample = law[:, 1] + law[:, 2].exp() * noise[:, t]
        made = torch.cat([made, sample[:, None]], dim=1)
    return made


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_gradient_is_that_of_the_whole_recursion(shape, monkeypatch):
    """Judged by autograd through as many forward passes as there are samples."""
    monkeypatch.setattr(rollout, "BOUND", 1e30)
    network, conditioning = network_and_conditioning(**shape)
    noise = noise_of(network)
    listener = torch.randn(noise.shape)  # any linear function of the waveform
    expected = recursion(network, conditioning, noise)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    judged = torch.autograd.grad((listener * expected).sum(), weights, retain_graph=True, allow_unused=True)

    free = Rollout(network, conditioning, noise)
    torch.testing.assert_close(free.waveform, expected.detach(), rtol=0, atol=1e-5)
    law = network(free.waveform, conditioning)
    drawn = law[..., 1] + law[..., 2].exp() * noise
    ours = torch.autograd.grad((free.pull(listener) * drawn).sum(), weights, allow_unused=True)
    for one, other in zip(ours, judged, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_every_instruction_set_gives_the_same(instruction_set, monkeypatch):
    network, conditioning = network_and_conditioning(**SHAPES["a step of four"])
    noise, listener, found = noise_of(network), torch.randn(BATCH, FRAMES * network.hop_length), []
    for isa in (instruction_set, "generic"):
        monkeypatch.setenv("VOCODER_ISA", isa)
        free = Rollout(network, conditioning, noise)
        found.append((free.waveform, free.pull(listener)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_gradient_that_runs_away_is_held(monkeypatch):
    """No sample answers for more than the bound, in units of its scale; without it the same one would."""
    network, conditioning = network_and_conditioning(**SHAPES["a step of four"])
    noise, listener = noise_of(network), torch.randn(BATCH, FRAMES * network.hop_length)
    free = Rollout(network, conditioning, noise)
    scale = conditioning.scale.repeat_interleave(network.hop_length, dim=1)
    size = (listener * scale).square().mean(dim=1, keepdim=True).sqrt()
    assert ((free.pull(listener) * scale).abs() / size).max() > 0.5
    monkeypatch.setattr(rollout, "BOUND", 0.5)
    assert ((free.pull(listener) * scale).abs() / size).max() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(distribution=DistributionConfig("mixture_of_logistics", 10)),
        NetworkConfig(samples_per_step=1, recent_excitations=0, linear_prediction_order=0),
    ],
)
def test_networks_that_cannot_be_followed_are_refused(network):
    with pytest.raises(ValueError, match=r"Set `--model.free_running 0`"):
        check_rollout(network)


def test_noise_and_gradients_of_another_shape_are_refused():
    """The library reads as many numbers as it expects, whatever there are."""
    network, conditioning = network_and_conditioning(**SHAPES["a step of four"])
    noise = noise_of(network)
    for wrong in (noise[:, :-4], noise[:-1]):
        with pytest.raises(ValueError, match="`noise` must be of shape"):
            Rollout(network, conditioning, wrong)
        with pytest.raises(ValueError, match="`gradient` must be of shape"):
            Rollout(network, conditioning, noise).pull(wrong)


def test_without_the_library_training_by_ear_is_refused(without_library):
    network, conditioning = network_and_conditioning(**SHAPES["a step of four"])
    with pytest.raises(RuntimeError, match=r"compiled code.*`--model.free_running 0`"):
        Rollout(network, conditioning, noise_of(network))
