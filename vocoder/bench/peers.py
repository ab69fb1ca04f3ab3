"""Other people's vocoders beside ours: their own code, from a clone, with the sizes that they publish, random weights.

Each is run as its authors do: weight norm folded in, no gradients, fp32, torch's threads, an utterance of ten seconds
at most at a time. Its upsampling is timed with it.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vocoder.bench.cases import BenchCase, BenchPlan, torch_threads
from vocoder.bench.limits import Work

UTTERANCE_SECONDS = 10


@dataclass(frozen=True)
class Peer:
    """A vocoder that is not ours.

    Attributes:
        network: Name.
        sample_rate: In Hz.
        hop_length: Samples a frame has.
        n_mels: Bands of its mels.
        generate: From mels (streams, n_mels, frames + `padding`) to waveforms.
        padding: Frames more than it gives samples for.
        work: For each sample, of those that make one after the other; else None.
    """

    network: str
    sample_rate: int
    hop_length: int
    n_mels: int
    generate: Callable[[Tensor], object]
    padding: int = 0
    work: Work | None = None

    def make_case(self, name: str, streams: int, threads: int) -> BenchCase:
        """Make it ready to run, for a number of utterances side by side."""
        longest = UTTERANCE_SECONDS * self.sample_rate // self.hop_length

        @torch.inference_mode()
        def run(frames: int) -> float:
            elapsed = 0.0
            for first in range(0, frames, longest):
                mel = torch.randn(streams, self.n_mels, min(longest, frames - first) + self.padding)
                with torch_threads(threads):
                    begin = time.perf_counter()
                    self.generate(mel)
                    elapsed += time.perf_counter() - begin
            return elapsed

        samples = streams * self.hop_length
        return BenchCase(self.network, name, None, "fp32", streams, threads, samples, self.sample_rate, self.work, run)


def peer_cases(plan: BenchPlan) -> list[BenchCase]:
    """One for each peer, streams and threads, in the plan's order.

    Raises:
        ValueError: An unknown peer, a folder that does not hold it, or something missing that it needs.
    """
    peers = [(name, peer) for name, checkout in plan.peers.items() for peer in build_peers(name, checkout)]
    return [peer.make_case(name, s, t) for name, peer in peers for t in plan.threads for s in plan.streams]


def build_peers(name: str, checkout: str) -> list[Peer]:
    """Build the vocoders that a clone has.

    Args:
        name: The name of the clone's project, one of `PEERS`.
        checkout: The folder with the clone; empty for one that is installed.

    Raises:
        ValueError: See `peer_cases`.
    """
    if name not in PEERS:
        raise ValueError(f"--peer must be of {', '.join(PEERS)}, but is {name!r}. Example: --peer r9y9=/path/to/clone.")
    build, package, home = PEERS[name]
    with importing_from(checkout), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", FutureWarning)  # their weight_norm is an older torch's
        try:
            return build(importlib.import_module(package), Path(checkout))
        except ModuleNotFoundError as error:
            if package.split(".")[0] == error.name:
                fact = f"--peer {name} must be a clone of {home}, but in {checkout!r} there is no {error.name}"
                raise ValueError(f"{fact}. Clone it, and pass {name}=FOLDER.") from error
            fact = f"--peer {name}: its own code needs {error.name}"
            raise ValueError(f"{fact}. Run `pip install {error.name}`.") from error


@contextmanager
def importing_from(folder: str) -> Iterator[None]:
    """Let Python import from a folder, for a while."""
    before = list(sys.path)
    sys.path[:0] = [folder] if folder else []
    try:
        yield
    finally:
        sys.path[:] = before


def count_work(*parts: nn.Module) -> Work:
    """Count the work of networks that read all their weights for every sample."""
    weights = sum(weight.numel() for part in parts for weight in part.parameters() if weight.dim() > 1)
    return Work(weights, 4.0 * weights)


# --- each of them -----------------------------------------------------------------------------------------------------


def build_r9y9(package: Any, checkout: Path) -> list[Peer]:
    """Its WaveNet by `incremental_forward`, after `make_generation_fast_`."""
    model = r9y9_network(package).eval()
    model.make_generation_fast_()

    def generate(mel: Tensor) -> object:
        return model.incremental_forward(c=mel, T=256 * (mel.shape[2] - 4), softmax=False, log_scale_min=-16.0)

    work = count_work(model.first_conv, model.conv_layers, model.last_conv_layers)
    return [Peer("r9y9 egs/mol", 22_050, 256, 80, generate, padding=4, work=work)]


def r9y9_network(package: Any) -> Any:
    """With the sizes of its `egs/mol/conf/mol_wavenet.json`."""
    return package.WaveNet(
        out_channels=30,
        layers=24,
        stacks=4,
        residual_channels=128,
        gate_channels=256,
        skip_out_channels=128,
        kernel_size=3,
        dropout=0.0,
        cin_channels=80,
        cin_pad=2,
        upsample_conditional_features=True,
        upsample_net="ConvInUpsampleNetwork",
        upsample_params={"upsample_scales": [4, 4, 4, 4], "cin_channels": 80, "cin_pad": 2},
        scalar_input=True,
        output_distribution="Logistic",
    )


def build_wavernn(package: Any, checkout: Path) -> list[Peer]:
    """torchaudio's WaveRNN with the sizes of its pipelines `TACOTRON2_WAVERNN_*_LJSPEECH`."""
    model = package.WaveRNN(
        upsample_scales=[5, 5, 11],
        n_classes=256,
        hop_length=275,
        n_res_block=10,
        n_rnn=512,
        n_fc=512,
        kernel_size=5,
        n_freq=80,
        n_hidden=128,
        n_output=128,
    ).eval()
    work = count_work(model.fc, model.rnn1, model.rnn2, model.fc1, model.fc2, model.fc3)
    return [Peer("WaveRNN", 22_050, 275, 80, model.infer, work=work)]


def build_hifigan(package: Any, checkout: Path) -> list[Peer]:
    """Build the three generators of the paper (Kong et al. 2020), after `remove_weight_norm`."""
    env = importlib.import_module("env")
    peers = []
    for version in (1, 2, 3):
        config = env.AttrDict(json.loads((checkout / f"config_v{version}.json").read_text(encoding="utf-8")))
        model = package.Generator(config).eval()
        model.remove_weight_norm()
        peers.append(Peer(f"HiFi-GAN V{version}", config.sampling_rate, config.hop_size, config.num_mels, model))
    return peers


def build_vocos(package: Any, checkout: Path) -> list[Peer]:
    """Build the mel vocoder of `configs/vocos.yaml`."""
    heads = importlib.import_module("vocos.heads")
    backbone = package.VocosBackbone(input_channels=100, dim=512, intermediate_dim=1536, num_layers=8).eval()
    head = heads.ISTFTHead(dim=512, n_fft=1024, hop_length=256, padding="center").eval()
    return [Peer("Vocos", 24_000, 256, 100, lambda mel: head(backbone(mel)), padding=1)]


# Name: what builds it, the package that it is imported from, where that comes from.
PEERS: dict[str, tuple[Callable[[Any, Path], list[Peer]], str, str]] = {
    "r9y9": (build_r9y9, "wavenet_vocoder", "github.com/r9y9/wavenet_vocoder"),
    "wavernn": (build_wavernn, "torchaudio.models", "github.com/pytorch/audio"),
    "hifigan": (build_hifigan, "models", "github.com/jik876/hifi-gan"),
    "vocos": (build_vocos, "vocos.models", "github.com/gemelo-ai/vocos"),
}
