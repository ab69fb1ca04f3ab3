"""Training steps of a module on random audio, to be timed: by `vocoder.bench.training` and `vocoder doctor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vocoder.training.module import VocoderModule, parameter_groups
from vocoder.training.optimizer import MuonAdamW

Step = Callable[[], Any]


def steps_of(
    module: VocoderModule, batch_size: int, frames: int, *, at_once: int, bf16: bool = True
) -> tuple[Step, Step]:
    """Give two steps of a module: its loss and gradients, and the optimizer's.

    Args:
        module: The module.
        batch_size: The number of segments of a step.
        frames: The length of a segment, in frames.
        at_once: The number of segments whose gradients are computed at a time, and summed, as the trainer's
            `accumulate_grad_batches` does: on a CPU, what fits its caches is faster, and the gradients are the same.
        bf16: Whether it is trained in `bf16-mixed`, or in float32.
    """
    dtype = torch.bfloat16 if bf16 else torch.float32
    optimizer = MuonAdamW(parameter_groups(module.network, module.hparams["weight_decay"]), dtype)
    time_ = frames * module.mel_config.hop_length
    waveform = 0.1 * torch.randn(at_once, sum(module.margin) + time_)
    span = torch.tensor([[-100, frames + 100]]).expand(at_once, -1)  # the middle of a longer utterance
    mask, seed = torch.ones(at_once, time_, dtype=torch.bool), torch.arange(at_once)
    batch = {"waveform": waveform, "mask": mask, "span": span, "seed": seed}
    if module.network.config.num_speakers:
        batch["speaker"] = torch.zeros(at_once, dtype=torch.long)

    device = module.network.skip.weight.device
    batch = {name: part if name == "seed" else part.to(device) for name, part in batch.items()}

    def gradients() -> Tensor:
        module.zero_grad()
        total = torch.zeros((), device=device)
        for _ in range(batch_size // at_once):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                nll = module.nll(batch, module.hparams["past_noise"]) * (at_once / batch_size)
            nll.backward()
            total += nll.detach()
        return total

    return gradients, optimizer.step
