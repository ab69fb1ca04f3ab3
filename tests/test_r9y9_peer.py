"""Imported networks beside r9y9/wavenet_vocoder's own code, at the sizes of its recipes."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.bundles.bundle import Bundle
from vocoder.config import DistributionConfig
from vocoder.engines.reference import ReferenceEngine
from vocoder.features.audio import load_audio
from vocoder.features.mel import LogMelSpectrogram, pre_emphasis
from vocoder.interop.r9y9 import import_r9y9
from vocoder.model.distributions import build_distribution

CHECKOUT = os.environ.get("VOCODER_R9Y9")
SPEECH = os.environ.get("VOCODER_SPEECH")
HOP = 256
REACH = 340  # samples that smoothing reaches in four stages of 4: 256 + 64 + 16 + 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHECKOUT is None, reason="VOCODER_R9Y9 names no checkout of r9y9/wavenet_vocoder"),
    # Its weight_norm and its hooks are an older torch's.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*weight_norm.*", "ignore:The network reads mels"),
]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Its package, for as long as a test runs."""
    assert CHECKOUT is not None
    monkeypatch.syspath_prepend(CHECKOUT)
    yield importlib.import_module("wavenet_vocoder.wavenet")
    for name in [name for name in sys.modules if name.split(".")[0] == "wavenet_vocoder"]:
        del sys.modules[name]


def recipe(name: str) -> dict[str, Any]:
    assert CHECKOUT is not None
    path = Path(CHECKOUT) / "egs" / name / "conf" / f"{name}_wavenet.json"
    return json.loads(path.read_text())


def build(package: Any, hparams: dict[str, Any], **changes: Any) -> nn.Module:
    """As its train.py builds it, with random weights that keep every activation alive."""
    names = ("out_channels", "layers", "stacks", "residual_channels", "gate_channels", "skip_out_channels",
             "kernel_size", "dropout", "cin_channels", "cin_pad", "gin_channels", "n_speakers",
             "upsample_conditional_features", "output_distribution")  # fmt: skip
    options = {
        **{name: hparams[name] for name in names},
        "upsample_params": {**hparams["upsample_params"], "cin_channels": 80, "cin_pad": hparams["cin_pad"]},
        "scalar_input": hparams["input_type"] == "raw",
        **changes,
    }
    model: nn.Module = package.WaveNet(**options).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter.normal_(std=0.1)
            elif "up_layers" in key:
                parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
    return model


def imported(model: nn.Module, hparams: dict[str, Any], folder: Path) -> Bundle:
    torch.save({"state_dict": model.state_dict(), "optimizer": None, "global_step": 0}, folder / "model.pth")
    (folder / "hparams.json").write_text(json.dumps(hparams))
    return import_r9y9(folder / "model.pth", folder / "hparams.json")


def sample_before(bundle: Bundle, waveform: Tensor) -> Tensor:
    """What its network reads at each time: the sample before, one-hot or as a number (batch, channels, time)."""
    before, distribution = F.pad(waveform, (1, 0))[:, :-1], bundle.network.distribution
    if distribution.is_continuous:
        return before.unsqueeze(1)
    return F.one_hot(distribution.encode(before), distribution.num_parameters).float().transpose(1, 2)


def padded(mel: Tensor, frames: int) -> Tensor:
    return F.pad(mel, (frames, frames), mode="replicate")


def parameters_of_both(model: Any, bundle: Bundle, waveform: Tensor, mel: Tensor, **speaker: Tensor) -> list[Tensor]:
    """(batch, time, channels) of theirs and of ours."""
    network = bundle.network
    with torch.no_grad():
        theirs = model(
            sample_before(bundle, waveform), padded(mel, network.config.context_frames), speaker.get("speaker")
        )
        ours = network(waveform, network.condition(mel, **speaker))
    return [theirs.transpose(1, 2), ours[..., -theirs.shape[1] :]]


def assert_same_inside(both: list[Tensor], receptive_field: int) -> None:
    theirs, ours = both
    difference = (ours - theirs).abs().amax(dim=(0, 2))
    first, last = REACH + receptive_field - 1, len(difference) - REACH
    outside = torch.cat([difference[:first], difference[last:]])
    print(f"std {theirs.std():.2g}, inside {difference[first:last].max():.2g}, at the ends {outside.max():.2g}, "
          f"of the first {int((difference[:first] > 1e-4).nonzero().max()) + 1} samples "
          f"and the last {len(difference) - int((difference[last:] > 1e-4).nonzero().min()) - last}")  # fmt: skip
    assert difference[first:last].max() < 1e-4


@pytest.mark.parametrize("name", ["mulaw256", "mol", "gaussian"])
def test_parameters_are_theirs_at_the_size_of_each_recipe(name: str, package: Any, tmp_path: Path) -> None:
    hparams = recipe(name)
    model = build(package, hparams)
    bundle = imported(model, hparams, tmp_path)
    frames = 8 + bundle.network.receptive_field // HOP
    both = parameters_of_both(model, bundle, 0.5 * torch.randn(1, frames * HOP).tanh(), torch.randn(1, 80, frames))
    assert both[0].std() > 0.1
    assert_same_inside(both, bundle.network.receptive_field)


def test_speakers_are_theirs(package: Any, tmp_path: Path) -> None:
    hparams = {**recipe("mol"), "gin_channels": 16}
    model = build(package, hparams, use_speaker_embedding=True)
    bundle = imported(model, hparams, tmp_path)
    waveform, mel = 0.3 * torch.randn(2, 8 * HOP), torch.randn(2, 80, 8)
    both = parameters_of_both(model, bundle, waveform, mel, speaker=torch.tensor([3, 6]))
    assert_same_inside(both, bundle.network.receptive_field)


@pytest.mark.parametrize("name", ["mulaw256", "mol", "gaussian"])
def test_step_by_step_is_their_incremental_forward(
    name: str, package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hparams, frames = recipe(name), 1
    model: Any = build(package, hparams)
    bundle = imported(model, hparams, tmp_path)
    mel, waveform = torch.randn(1, 80, frames), 0.5 * torch.randn(1, frames * HOP).tanh()
    conditioning = bundle.network.condition(mel)
    # Two frames more on each side, so that its smoothing sees no ends: then nothing differs at all.
    with torch.no_grad():
        smoothed = model.upsample_net(padded(mel, hparams["cin_pad"] + 2))[..., 2 * HOP : -2 * HOP]
        model.upsample_net = None
        for law in ("sample_from_discretized_mix_logistic", "sample_from_mix_gaussian"):
            monkeypatch.setattr(package, law, lambda parameters, **_: parameters.squeeze(-1))
        model.make_generation_fast_()
        theirs = model.incremental_forward(
            c=smoothed, T=frames * HOP, test_inputs=sample_before(bundle, waveform), softmax=False, quantize=False
        ).transpose(1, 2)
    engine = ReferenceEngine(bundle.network)
    ours = engine.force(conditioning, waveform, engine.initial_state(1))
    difference = (ours[..., -theirs.shape[-1] :] - theirs).abs().max()
    print(f"{name}: {difference:.2g}")
    assert difference < 1e-4


@pytest.mark.parametrize(("law", "channels"), [("Logistic", 30), ("Normal", 2), ("Normal", 9)])
def test_samples_follow_their_law(law: str, channels: int, package: Any) -> None:
    size, single = 100_000, channels == 2
    parameters = torch.randn(channels)
    parameters[-channels // 3 :] -= 2.0  # narrow enough for some to be far from the ends of [-1, 1]
    draw = {"Logistic": package.sample_from_discretized_mix_logistic, "Normal": package.sample_from_mix_gaussian}[law]
    theirs = draw(parameters.view(1, -1, 1).expand(1, -1, size)).flatten()
    name = {"Logistic": "mixture_of_logistics", "Normal": "gaussian"}[law]
    distribution = build_distribution(DistributionConfig(name, 1 if single else channels // 3))  # type: ignore[arg-type]
    ours = distribution.sample(
        F.pad(parameters, (int(single), 0)).expand(size, -1),
        distribution.map_noise(torch.rand(size, 2, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)),
    )
    levels = torch.linspace(-0.999, 0.999, 999)  # at 1 theirs are clipped, ours at 1 - 2**-15
    shares = [torch.searchsorted(drawn.sort().values, levels) / size for drawn in (theirs, ours)]
    assert (shares[0] - shares[1]).abs().max() < 1.95 * (2 / size) ** 0.5  # Kolmogorov and Smirnov, at 0.1 %


@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of real speech")
def test_parameters_are_theirs_after_training_on_speech(package: Any, tmp_path: Path) -> None:
    hparams = recipe("mol")
    model: Any = build(package, hparams)
    bundle = imported(model, hparams, tmp_path)
    assert SPEECH is not None
    path = sorted(Path(SPEECH).glob("*/wavs/*.flac"))[0]
    speech = load_audio(path, 22_050)[None, : 120 * HOP]
    mel = LogMelSpectrogram(bundle.config.mel)(speech)[:, :120].transpose(1, 2)  # theirs are frames first
    target = 0.55 * pre_emphasis(speech, 0.85)
    with torch.no_grad():  # a head start: Adam would take a thousand steps to make the laws so narrow and central
        model.last_conv_layers[3].weight_g *= 0.1
        model.last_conv_layers[3].bias[20:] -= 4.0
    train(model, target, mel, hparams)
    bundle = imported(model, hparams, tmp_path)
    both = parameters_of_both(model, bundle, target, mel)
    assert_same_inside(both, bundle.network.receptive_field)


def train(model: Any, target: Tensor, mel: Tensor, hparams: dict[str, Any], steps: int = 30, frames: int = 8) -> None:
    """Its own loss, on excerpts with true frames around them."""
    mixture, pad = importlib.import_module("wavenet_vocoder.mixture"), hparams["cin_pad"]
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3)
    for step in range(steps):
        start = pad + 17 * step % (mel.shape[-1] - frames - 2 * pad)
        x = target[:, None, start * HOP : (start + frames) * HOP]
        predicted = model(x, mel[..., start - pad : start + frames + pad])
        loss = mixture.discretized_mix_logistic_loss(
            predicted[..., :-1], x.transpose(1, 2)[:, 1:], 65_536, hparams["log_scale_min"], reduce=False
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 7 == 0:
            print(f"step {step}: {loss:.3f} nats per sample")
    model.eval()
