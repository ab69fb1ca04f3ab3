"""The throughput of training, in samples per second: `python -m vocoder.bench.training --help`.

A step is mel → loss → gradients on random audio; what the optimizer takes on top of it stands beside. When `--peer`
names a checkout of r9y9/wavenet_vocoder, its own model and loss at the geometry of its MoL recipe follow, without an
optimizer; all in turn, so that the ratio holds on a machine whose speed drifts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
import warnings

import torch
from torch import Tensor

from vocoder.bench.cases import wait_for
from vocoder.bench.peers import importing_from, r9y9_network
from vocoder.config import NETWORKS, MelConfig
from vocoder.training.module import VocoderModule
from vocoder.training.timed_steps import Step, steps_of

OPTIMIZER = "optimizer"


def our_steps(
    network: str, batch_size: int, frames: int, *, at_once: int, device: str = "cpu", compiled: bool = False
) -> dict[str, Step]:
    """Give two steps of a named network: its loss and gradients, as trained in `bf16-mixed`, and the optimizer's.

    Gradients of `at_once` segments at a time are summed, as the trainer's `accumulate_grad_batches` does: on a CPU,
    what fits its caches is faster than a whole batch, and the gradients are the same.
    """
    module = VocoderModule(MelConfig(), NETWORKS[network]).to(device)
    if compiled:
        module.network.forward = torch.compile(module.network.forward, fullgraph=True)  # type: ignore[method-assign]
    gradients, update = steps_of(module, batch_size, frames, at_once=at_once)
    return {f"{network} bf16": gradients, OPTIMIZER: update}


def peer_step(checkout: str, batch_size: int, frames: int, device: str = "cpu") -> Step:
    """Give a step of r9y9's own WaveNet with the sizes of its `egs/mol/conf/mol_wavenet.json`, in its own precision."""
    with importing_from(checkout), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its weight_norm is an older torch's
        model = r9y9_network(importlib.import_module("wavenet_vocoder"))
        loss_of = importlib.import_module("wavenet_vocoder.mixture").discretized_mix_logistic_loss

    model = model.to(device)
    waveform = 0.1 * torch.randn(batch_size, 1, frames * 256, device=device)
    mel = torch.randn(batch_size, 80, frames + 4, device=device)

    def step() -> Tensor:
        model.zero_grad()
        predicted = model(waveform, mel)
        loss = loss_of(
            predicted[:, :, :-1], waveform.transpose(1, 2)[:, 1:], num_classes=65536, log_scale_min=-16.0, reduce=False
        ).mean()
        loss.backward()
        return loss.detach()

    return step


def measure(steps: dict[str, Step], repetitions: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each repetition of each step, run in turn after one warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(repetitions + 1):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            wait_for(device)
            if repetition > 0:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def main(arguments: list[str] | None = None) -> None:
    """Print medians as a table, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="wavenet-64")
    parser.add_argument("--batch-size", type=int, default=2, help="segments of a step; a multiple of --at-once")
    parser.add_argument("--frames", type=int, default=16, help="of a segment; a frame has 256 samples")
    parser.add_argument("--at-once", type=int, default=1, help="segments whose gradients we compute at once")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--compile", action="store_true", help="the network, with torch.compile")
    parser.add_argument("--peer", metavar="CHECKOUT", help="of github.com/r9y9/wavenet_vocoder, to run beside")
    parser.add_argument("--json", action="store_true", help="a list of objects, and nothing else")
    options = parser.parse_args(arguments)

    if options.batch_size % options.at_once:
        parser.error(f"--batch-size must be a multiple of --at-once, but is {options.batch_size}")
    size = options.batch_size, options.frames
    steps = our_steps(options.network, *size, at_once=options.at_once, device=options.device, compiled=options.compile)
    if options.peer:
        steps["r9y9/wavenet_vocoder"] = peer_step(options.peer, *size, options.device)
    samples = options.batch_size * options.frames * MelConfig().hop_length
    seconds = measure(steps, options.repetitions, torch.device(options.device))
    optimizer = statistics.median(seconds.pop(OPTIMIZER))
    rows = [
        {
            "model": name,
            "samples_per_second": round(samples / statistics.median(runs)),
            "seconds_per_step": [round(run, 3) for run in runs],
            "samples_per_update": samples,
            "threads": torch.get_num_threads(),
        }
        for name, runs in seconds.items()
    ]
    rows[0]["optimizer_seconds"] = round(optimizer, 4)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['model']:24} {row['samples_per_second']:>9,} samples/s")
    print(f"{'optimizer, per update':24} {1000 * optimizer:>9.1f} ms")
    if options.peer:
        ours, peer = seconds.values()
        ratio = statistics.median(other / own for own, other in zip(ours, peer, strict=True))
        print(f"{'ratio, step by step':24} {ratio:>9.2f}")


if __name__ == "__main__":
    main()
