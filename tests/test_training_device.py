"""A step of training leaves the host free to run ahead of a device, and can be compiled as a whole."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import DISTRIBUTIONS, tiny_config

pytest.importorskip("lightning")
from vocoder.data.datamodule import VocoderDataModule
from vocoder.training import module as training
from vocoder.training.module import VocoderModule, draw_past_noise, parameter_groups
from vocoder.training.optimizer import MuonAdamW

FRAMES, BATCH = 6, 2
CHANGES: dict[str, dict[str, Any]] = {
    "mixture_of_logistics": {"samples_per_step": 4, "recent_excitations": 3},
    "gaussian": {"samples_per_step": 8, "recent_excitations": 8, "num_speakers": 2},
    "mu_law_categorical": {},
}
needs_device = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def make_module(distribution: str) -> VocoderModule:
    config = tiny_config(distribution, **CHANGES[distribution])
    return VocoderModule(config.mel, config.network)


def make_batch(module: VocoderModule) -> dict[str, Tensor]:
    time = FRAMES * module.mel_config.hop_length
    waveform = (0.3 * torch.randn(BATCH, sum(module.margin) + time)).clamp(-1, 1)
    waveform[:, module.margin[0] + 7] = -1.0  # the lowest level, whose law has a tail
    batch = {
        "waveform": waveform,
        "mask": torch.ones(BATCH, time, dtype=torch.bool),
        "span": torch.tensor([[-3, FRAMES + 3]]).expand(BATCH, -1),
        "seed": torch.arange(BATCH),
    }
    return {**batch, "speaker": torch.arange(BATCH)} if module.network.config.num_speakers else batch


def move(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return VocoderDataModule("anywhere").transfer_batch_to_device(batch, device, 0)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_step_asks_the_device_for_no_number(monkeypatch: pytest.MonkeyPatch, distribution: str) -> None:
    """The meta device has none to give: loss, gradients and optimizer must do without."""
    module, device = make_module(distribution), torch.device("meta")
    batch = move(make_batch(module), device)
    assert (batch["seed"].device.type, batch["waveform"].device.type) == ("cpu", "meta")
    assert batch["seed"].tolist() == [0, 1]
    # The meta device has neither generators nor autocast; a GPU's generator takes its seed from the host.
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    monkeypatch.setattr(training, "draw_past_noise", lambda seeds, length, device: torch.ones(BATCH, length).to(device))
    module.to(device)
    optimizer = MuonAdamW(parameter_groups(module.network, 0.01))
    for _ in range(2):
        optimizer.zero_grad()
        module.nll(batch, past_noise=module.hparams["past_noise"]).backward()
        optimizer.step()
    with pytest.raises(Exception, match="meta tensors"):
        module.nll(batch).item()


def test_the_noise_of_a_segment_is_drawn_from_seeds_on_the_host() -> None:
    drawn = draw_past_noise(torch.tensor([3, 4]), 50, torch.device("cpu"))
    assert torch.equal(drawn[1:], draw_past_noise(torch.tensor([4]), 50, torch.device("cpu")))


@pytest.mark.filterwarnings("ignore")  # of torch's tracing, which warns of what it does itself
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_network_and_loss_are_traced_without_a_break_and_give_the_same(distribution: str) -> None:
    module = make_module(distribution)
    batch = make_batch(module)
    batch["waveform"] = batch["waveform"].clamp(-0.9, 0.9)  # on a CPU the tails are a branch
    conditioning, (waveform, past) = module.condition(batch), module.target(batch)
    network, parameters = module.network, list(module.network.layers.parameters())

    def gradients(forward: Any) -> tuple[Tensor, ...]:
        laws = forward(waveform, conditioning, past)
        return torch.autograd.grad(-network.distribution.log_prob(laws, waveform).mean(), parameters)

    torch._dynamo.reset()
    compiled = torch.compile(network.forward, fullgraph=True, backend="aot_eager")
    for one, other in zip(gradients(compiled), gradients(network), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
@needs_device
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_loss_and_its_gradients_are_the_cpus(distribution: str) -> None:
    module = make_module(distribution)
    batch = make_batch(module)
    expected = module.nll(batch)
    expected.backward()
    gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    module.zero_grad()
    module.cuda()
    nll = module.nll(move(batch, torch.device("cuda")))
    nll.backward()
    torch.testing.assert_close(nll.cpu(), expected, rtol=1e-4, atol=1e-4)
    for own, other in zip((p.grad for p in module.parameters() if p.grad is not None), gradients, strict=True):
        torch.testing.assert_close(own.cpu(), other, rtol=1e-2, atol=1e-4)


@pytest.mark.gpu
@needs_device
@pytest.mark.parametrize("compiled", [False, True])
def test_steps_in_bf16_on_a_device_lower_the_loss_without_a_synchronisation(compiled: bool) -> None:
    module = make_module("gaussian").cuda()
    batch = move(make_batch(module), torch.device("cuda"))
    if compiled:
        module.network.forward = torch.compile(module.network.forward, fullgraph=True)  # type: ignore[method-assign]
    optimizer, losses = MuonAdamW(parameter_groups(module.network, 0.01)), []
    for step in range(12):
        torch.cuda.set_sync_debug_mode("error" if step > 1 else "default")  # the first steps allocate, and compile
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            nll = module.nll(batch, past_noise=0.2)
        nll.backward()
        optimizer.step()
        losses.append(nll.detach())
    torch.cuda.set_sync_debug_mode("default")
    assert float(losses[-1]) < float(losses[0])
