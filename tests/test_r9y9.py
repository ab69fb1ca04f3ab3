"""An imported network is r9y9/wavenet_vocoder's: the same parameters from the same weights.

The judge is a rendition of its forward pass, from the names in its state dict, on tiny networks. Its own code judges in
`test_r9y9_peer.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.bundles.bundle import load_bundle
from vocoder.cli.models import add_import_r9y9
from vocoder.config import WaveformConfig
from vocoder.features.dialects import DIALECTS
from vocoder.features.mel import LogMelSpectrogram
from vocoder.features.statistics import with_statistics
from vocoder.interop.r9y9 import import_r9y9

HOP, MELS, FRAMES = 12, 6, 12
REACH = 15  # samples that the smoothing of scales 4 and 3 reaches: 4 · 3 + 3
STATISTICS = (-2.0, 0.5)

HPARAMS: dict[str, Any] = {
    "input_type": "raw",
    "quantize_channels": 65_536,
    "output_distribution": "Logistic",
    "preprocess": "preemphasis",
    "postprocess": "inv_preemphasis",
    "global_gain_scale": 0.55,
    "sample_rate": 8000,
    "num_mels": MELS,
    "fmin": 125,
    "fmax": 3600,
    "fft_size": 64,
    "hop_size": HOP,
    "frame_shift_ms": None,
    "win_length": 64,
    "win_length_ms": -1.0,
    "window": "hann",
    "out_channels": 9,
    "layers": 6,
    "stacks": 2,
    "residual_channels": 8,
    "gate_channels": 10,
    "skip_out_channels": 12,
    "kernel_size": 3,
    "cin_channels": MELS,
    "cin_pad": 2,
    "upsample_conditional_features": True,
    "upsample_params": {"upsample_scales": [4, 3]},
    "gin_channels": -1,
    "n_speakers": 7,
}
MU_LAW = {"input_type": "mulaw-quantize", "quantize_channels": 32, "out_channels": 32}
GAUSSIAN = {"output_distribution": "Normal", "out_channels": 2}
REPEATING = {"upsample_conditional_features": False, "cin_pad": 0}
SPEAKERS = {"gin_channels": 4, "n_speakers": 3}
OLD = {**REPEATING, "min_level_db": -100, "ref_level_db": 20, "legacy": True}

State = dict[str, Tensor]


def random_state(hparams: dict[str, Any], *, conv_in: bool = True) -> State:
    """Weights as its `state_dict()` has them, weight normalisation included, of a size that keeps activations alive."""
    state: State = {}

    def convolution(name: str, *shape: int, bias: bool = True) -> None:
        weight = 1.4 * torch.randn(shape) * math.prod(shape[1:]) ** -0.5
        state[f"{name}.weight_g"] = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (len(shape) - 1))
        state[f"{name}.weight_v"] = 3 * weight
        if bias:
            state[f"{name}.bias"] = 0.1 * torch.randn(shape[0])

    residual, gate, skip = hparams["residual_channels"], hparams["gate_channels"], hparams["skip_out_channels"]
    mels = hparams["num_mels"]
    old = "ref_level_db" in hparams
    convolution("first_conv", residual, 1 if hparams["input_type"] == "raw" else hparams["out_channels"], 1)
    for index in range(hparams["layers"]):
        at = f"conv_layers.{index}"
        convolution(f"{at}.conv", gate, residual, hparams["kernel_size"])
        convolution(f"{at}.conv1x1c", gate, mels, 1, bias=old)
        if hparams["gin_channels"] > 0:
            convolution(f"{at}.conv1x1g", gate, hparams["gin_channels"], 1, bias=old)
        convolution(f"{at}.conv1x1_out", residual, gate // 2, 1)
        convolution(f"{at}.conv1x1_skip", skip, gate // 2, 1)
    convolution("last_conv_layers.1", skip, skip, 1)
    convolution("last_conv_layers.3", hparams["out_channels"], skip, 1)
    if hparams["gin_channels"] > 0:
        state["embed_speakers.weight"] = torch.randn(hparams["n_speakers"], hparams["gin_channels"])
    if hparams["upsample_conditional_features"]:
        within = "upsample." if conv_in else ""
        for stage, scale in enumerate(hparams["upsample_params"]["upsample_scales"]):
            convolution(f"upsample_net.{within}up_layers.{2 * stage + 1}", 1, 1, 1, 2 * scale + 1, bias=False)
        if conv_in:
            state["upsample_net.conv_in.weight"] = torch.randn(mels, mels, 2 * hparams["cin_pad"] + 1) / 5
    return state


def rendition(hparams: dict[str, Any], state: State, past: Tensor, mel: Tensor, speaker: Tensor | None) -> Tensor:
    """Its `WaveNet.forward`: the parameters (batch, time, channels), from the sample before each, one-hot or scalar.

    Args:
        hparams: Its own words.
        state: Its own names.
        past: (batch, channels, time), the sample before each one.
        mel: (batch, n_mels, frames + 2 · cin_pad).
        speaker: (batch,), or None.
    """

    def weight(name: str) -> Tensor:
        g, v = state[f"{name}.weight_g"], state[f"{name}.weight_v"]
        return g * F.normalize(v.flatten(1), dim=1).reshape(v.shape)

    def apply(name: str, x: Tensor, **options: Any) -> Tensor:
        return F.conv1d(x, weight(name), state.get(f"{name}.bias"), **options)

    def upsample(c: Tensor) -> Tensor:
        if not hparams["upsample_conditional_features"]:
            return c.repeat_interleave(HOP, dim=-1)
        within, scales = "", hparams["upsample_params"]["upsample_scales"]
        if "upsample_net.conv_in.weight" in state:
            within, c = "upsample.", F.conv1d(c, state["upsample_net.conv_in.weight"])
        for stage, scale in enumerate(scales):
            c = F.interpolate(c.unsqueeze(1), scale_factor=(1, scale), mode="nearest")
            smoothing = weight(f"upsample_net.{within}up_layers.{2 * stage + 1}")
            c = F.conv2d(c, smoothing, padding=(0, scale)).squeeze(1)
        indent = 0 if within else hparams["cin_pad"] * HOP
        return c[..., indent : c.shape[-1] - indent]

    c, x, skips = upsample(mel), apply("first_conv", past), torch.zeros(())
    for index in range(hparams["layers"]):
        at, dilation = f"conv_layers.{index}", 2 ** (index % (hparams["layers"] // hparams["stacks"]))
        a = apply(f"{at}.conv", F.pad(x, ((hparams["kernel_size"] - 1) * dilation, 0)), dilation=dilation)
        a = a + apply(f"{at}.conv1x1c", c)
        if speaker is not None:
            a = a + apply(f"{at}.conv1x1g", state["embed_speakers.weight"][speaker].unsqueeze(-1))
        a_filter, a_gate = a.chunk(2, dim=1)
        z = torch.tanh(a_filter) * torch.sigmoid(a_gate)
        skips = skips + apply(f"{at}.conv1x1_skip", z)
        if "ref_level_db" in hparams and hparams["legacy"] and index:
            skips = skips * math.sqrt(0.5)
        x = (x + apply(f"{at}.conv1x1_out", z)) * math.sqrt(0.5)
    skips = skips if "ref_level_db" in hparams else skips * math.sqrt(1 / hparams["layers"])
    return apply("last_conv_layers.3", F.relu(apply("last_conv_layers.1", F.relu(skips)))).transpose(1, 2)


class Files:
    """A checkpoint and its hyper-parameters in a folder."""

    def __init__(self, folder: Path, hparams: dict[str, Any], state: State) -> None:
        self.checkpoint, self.hparams, self.output = folder / "checkpoint.pth", folder / "hparams.json", folder / "out"
        torch.save({"state_dict": state, "optimizer": None, "global_step": 1000, "global_epoch": 3}, self.checkpoint)
        self.hparams.write_text(json.dumps(hparams))

    def load(self, stats: Any = STATISTICS) -> Any:
        return import_r9y9(self.checkpoint, self.hparams, None if "ref_level_db" in self.hparams.read_text() else stats)

    def run(self, *options: str) -> None:
        parser = argparse.ArgumentParser()
        add_import_r9y9(parser.add_subparsers())
        arguments = ["import-r9y9", str(self.checkpoint), str(self.hparams), str(self.output), *options]
        parsed = parser.parse_args(arguments)
        parsed.run(parsed)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, HPARAMS, random_state(HPARAMS))


# --- the same function ------------------------------------------------------------------------------------------------

MODELS: dict[str, tuple[dict[str, Any], bool]] = {
    "logistic": ({}, True),
    "mu-law": (MU_LAW, True),
    "gaussian": (GAUSSIAN, True),
    "one-gaussian-of-a-mixture": ({"output_distribution": "Normal", "out_channels": 3}, True),
    "gaussian-mixture": ({"output_distribution": "Normal", "out_channels": 6}, True),
    "kernel-2": ({"kernel_size": 2, "layers": 4, "stacks": 1}, True),
    "no-padding": ({"cin_pad": 0}, True),
    "no-conv-in": ({}, False),
    "repeating": (REPEATING, False),
    "speakers": (SPEAKERS, True),
    "mu-law-speakers": ({**MU_LAW, **SPEAKERS}, False),
    "old": (OLD, False),
    "old-not-legacy": ({**OLD, "legacy": False}, False),
    "old-speakers": ({**OLD, **SPEAKERS}, False),
}


@pytest.mark.parametrize("model", MODELS)
def test_parameters_are_theirs_away_from_the_ends(model: str, tmp_path: Path) -> None:
    changes, conv_in = MODELS[model]
    hparams = {**HPARAMS, **changes}
    state = random_state(hparams, conv_in=conv_in)
    config, network, _ = Files(tmp_path, hparams, state).load()
    mel = torch.randn(2, MELS, FRAMES)
    waveform = 0.6 * (2 * torch.rand(2, FRAMES * HOP) - 1)
    past = F.pad(waveform, (1, 0))[:, :-1].unsqueeze(1)
    if hparams["input_type"] != "raw":
        past = F.one_hot(network.distribution.encode(past[:, 0]), 32).float().transpose(1, 2)
    speaker = torch.tensor([2, 0]) if config.network.num_speakers else None
    padded = F.pad(mel, [hparams["cin_pad"]] * 2, mode="replicate")
    with torch.no_grad():
        double = {key: value.double() for key, value in state.items()}
        theirs = rendition(hparams, double, past.double(), padded.double(), speaker)
        ours = network(waveform, network.condition(mel, speaker))[..., -hparams["out_channels"] :]
    assert theirs.std() > 0.1  # alive
    difference = (ours - theirs).abs().amax(dim=(0, 2))
    smoothed = hparams["upsample_conditional_features"]
    first, last = (REACH + network.receptive_field - 1, REACH) if smoothed and conv_in else (0, 0)
    assert difference[first : len(difference) - last].max() < 2e-5  # float32's rounding
    if last:  # and where they may differ, they do: the claim about the ends is no excuse
        assert difference[:REACH].max() > 1e-3
        assert difference[-REACH:].max() > 1e-3


def test_the_upsampling_is_as_short_as_it_can_be(files: Files) -> None:
    kernel = files.load().network.upsampling.kernel
    assert kernel.shape == (HOP, 5)
    assert kernel[:, 0].abs().max() > 0
    assert kernel[:, -1].abs().max() > 0


def test_a_single_gaussian_is_the_normal_distribution_of_its_two_outputs(tmp_path: Path) -> None:
    hparams = {**HPARAMS, **GAUSSIAN}
    network = Files(tmp_path, hparams, random_state(hparams)).load().network
    with torch.no_grad():
        parameters = network(torch.rand(1, FRAMES * HOP) - 0.5, network.condition(torch.randn(1, MELS, FRAMES)))
    mean, log_std = parameters.double()[..., 1:].unbind(dim=-1)
    level, normal = torch.full_like(mean, 0.25), torch.distributions.Normal(mean, log_std.exp())
    mass = normal.cdf(level + 0.5 / 32_768) - normal.cdf(level - 0.5 / 32_768)
    found = network.distribution.log_prob(parameters, level).double().exp()
    torch.testing.assert_close(found, mass, atol=1e-7, rtol=1e-3)


def other_names(state: State) -> State:
    """As newer torch names the two parts of a normalised weight."""
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    return {
        ".".join([*key.split(".")[:-1], names.get(key.split(".")[-1], key.split(".")[-1])]): value
        for key, value in state.items()
    }


def without_norm(state: State) -> State:
    """As after its `make_generation_fast_`."""
    plain = {key: value for key, value in state.items() if not key.endswith(("_g", "_v"))}
    for key in [key for key in state if key.endswith("_g")]:
        v = state[key[:-1] + "v"]
        plain[key[:-2]] = state[key] * v / v.flatten(1).norm(dim=1).reshape(state[key].shape)
    return plain


@pytest.mark.parametrize("rewrite", [other_names, without_norm])
def test_weights_mean_the_same_however_their_norm_is_kept(rewrite: Any, files: Files, tmp_path: Path) -> None:
    expected = files.load().network.state_dict()
    state = torch.load(files.checkpoint, weights_only=True)["state_dict"]
    found = Files(tmp_path, HPARAMS, rewrite(state)).load().network.state_dict()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-6, msg=key)


@pytest.mark.parametrize("old_name", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_checkpoints_of_older_torch_and_numpy_are_read(old_name: bool, zipped: bool, files: Files) -> None:
    state = torch.load(files.checkpoint, weights_only=True)
    state |= {"optimizer": {"param_groups": [{"lr": np.float64(1e-3)}]}, "global_step": np.int64(1000)}
    torch.save(state, files.checkpoint, _use_new_zipfile_serialization=zipped)
    if old_name and not zipped:  # NumPy 1's module; the archive of the newer format has a checksum
        data = files.checkpoint.read_bytes()
        files.checkpoint.write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert json.dumps(files.load().training["steps"]) == "1000"


# --- the same waveform and mel ----------------------------------------------------------------------------------------


def test_the_waveform_is_emphasised_and_scaled_as_theirs(tmp_path: Path) -> None:
    plain = {**HPARAMS, "preprocess": "", "global_gain_scale": 0.0}  # 0 leaves it as it is
    for hparams, expected in ((HPARAMS, WaveformConfig(0.85, 0.55)), (plain, WaveformConfig())):
        assert Files(tmp_path, hparams, random_state(hparams)).load().config.waveform == expected


def test_the_mel_is_theirs(files: Files, tmp_path: Path) -> None:
    librosa = pytest.importorskip("librosa")
    mean, std = np.linspace(-3, -1, MELS), np.linspace(0.4, 0.9, MELS)
    np.savez(tmp_path / "stats.npz", mean=mean, scale=std)
    config = files.load(tmp_path / "stats.npz").config.mel
    waveform = 0.1 * np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    spectrum = np.abs(librosa.stft(waveform, n_fft=64, hop_length=HOP, win_length=64, pad_mode="reflect"))
    bands = librosa.filters.mel(sr=8000, n_fft=64, fmin=125, fmax=3600, n_mels=MELS) @ spectrum
    expected = (np.log10(np.maximum(bands, 1e-10)).T - mean) / std  # (frames, n_mels), as its *-feats.npy
    np.testing.assert_allclose(LogMelSpectrogram(config)(torch.from_numpy(waveform)[None])[0], expected, atol=1e-4)


def test_recipes_speak_the_named_dialects(tmp_path: Path) -> None:
    numbers = {"sample_rate": 22_050, "num_mels": 80, "fmax": 7600, "fft_size": 1024, "hop_size": 256, "win_length": -1,
               "win_length_ms": 46.45, "cin_channels": 80, **REPEATING}  # fmt: skip
    for changes, dialect in (({}, with_statistics(DIALECTS["r9y9"], STATISTICS)), (OLD, DIALECTS["r9y9-v0.1.1"])):
        hparams = {**HPARAMS, **numbers, **changes}
        mel = Files(tmp_path, hparams, random_state(hparams)).load().config.mel
        for name, value in dataclasses.asdict(dialect).items():
            assert getattr(mel, name) == (pytest.approx(value) if isinstance(value, float) else value), name


def test_missing_statistics_are_said_and_typical_ones_stand_in(files: Files) -> None:
    with pytest.warns(UserWarning, match="normalised by its corpus' mean .* Pass `stats`"):
        mel = files.load(stats=None).config.mel
    assert (mel.shift, mel.scale) == (-2.5, 0.7)


def test_the_frame_shift_may_be_given_in_milliseconds(tmp_path: Path) -> None:
    hparams = {**HPARAMS, "hop_size": None, "frame_shift_ms": 1.5}
    assert Files(tmp_path, hparams, random_state(hparams)).load().config.mel.hop_length == HOP


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_model_that_is_the_imported_one(files: Files, tmp_path: Path) -> None:
    (tmp_path / "stats.json").write_text(json.dumps({"mean": STATISTICS[0], "std": STATISTICS[1]}))
    files.run("--stats", str(tmp_path / "stats.json"))
    expected, bundle = files.load(), load_bundle(files.output)
    assert bundle.config == expected.config
    assert bundle.training == {"source": "r9y9/wavenet_vocoder", "checkpoint": "checkpoint.pth", "steps": 1000}
    for key, value in expected.network.state_dict().items():
        assert torch.equal(bundle.network.state_dict()[key], value)
    with pytest.raises(FileExistsError, match="Pass --overwrite"):
        files.run()


@pytest.mark.filterwarnings("ignore:The network reads mels")
def test_what_cannot_be_imported_leaves_nothing_behind(files: Files) -> None:
    before = sorted(files.output.parent.iterdir())
    files.checkpoint.write_bytes(files.checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"checkpoint\.pth could not be read as a checkpoint"):
        files.run()
    assert sorted(files.output.parent.iterdir()) == before


# --- what is refused --------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "scalar mu-law": ({"input_type": "mulaw"}, "`input_type` must be raw or mulaw-quantize, but is 'mulaw'"),
    "old mu-law": ({**MU_LAW, **OLD}, "levels by a mu-law of mu 32, ours of mu 31"),
    "levels": ({**MU_LAW, "quantize_channels": 64}, "equal `quantize_channels`.*but they are 32 and 64"),
    "channels": ({"out_channels": 10}, "three for each component.*but is 10 with `output_distribution` Logistic"),
    "law": ({"output_distribution": "Laplace"}, "Logistic or Normal mixture.*Laplace"),
    "scales": ({"upsample_params": {"upsample_scales": [4, 4]}}, r"\[4, 4\] make 16, and it is 12"),
    "activation": ({"upsample_params": {"upsample_scales": [4, 3], "upsample_activation": "ReLU"}}, "have .*ReLU; our"),
    "bands": ({"upsample_params": {"upsample_scales": [4, 3], "freq_axis_kernel_size": 3}}, "freq_axis_kernel_size 3"),
    "unconditioned": ({"cin_channels": -1}, "reads no mel"),
    "window": ({"window": "hamming"}, "`window` must be hann, but is 'hamming'"),
    "preprocess": ({"preprocess": "low_cut_filter"}, "preemphasis or none, but is 'low_cut_filter'"),
    "stacks": ({"stacks": 4}, "multiple of `stacks`, but are 6 and 4"),
    "kernel": ({"kernel_size": 1}, "kernel_size must be at least 2"),
    "layers": ({"layers": 8}, r"contradict each other in layers \(weights 6, hyper-parameters 8\)"),
    "residual": ({"residual_channels": 16}, r"in residual_channels \(weights 8, hyper-parameters 16\)"),
    "mels": ({"num_mels": 5}, r"in num_mels \(weights 6, hyper-parameters 5\)"),
    "padding": ({"cin_pad": 1}, r"of another shape are upsample_net.conv_in.weight \(6, 6, 5\) instead of \(6, 6, 3\)"),
    "speakers": (SPEAKERS, "it reads embeddings made elsewhere"),
    "frame": ({"hop_size": None, "frame_shift_ms": None}, "hop"),
    "number": ({"layers": "6"}, "must give positive whole numbers, but has layers '6'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_ours_cannot_be_is_refused(case: str, tmp_path: Path) -> None:
    changes, message = REFUSED[case]
    own = ("kernel", "channels", "law", "old mu-law", "levels")  # of which there are checkpoints
    state = random_state({**HPARAMS, **changes} if case in own else HPARAMS)
    with pytest.raises(ValueError, match=message):
        Files(tmp_path, {**HPARAMS, **changes}, state).load()


def test_upsampling_with_rectifiers_is_refused(tmp_path: Path) -> None:
    hparams = {**HPARAMS, **OLD, "upsample_conditional_features": True, "upsample_scales": [4, 3]}
    state = {**random_state({**HPARAMS, **OLD}), "upsample_conv.0.weight_g": torch.ones(1, 1, 1, 1)}
    with pytest.raises(ValueError, match=r"with a ReLU after each.*Take a checkpoint of version 0\.2\.0"):
        Files(tmp_path, hparams, state).load()


def test_an_unknown_layout_says_what_is_missing_and_what_is_left_over(tmp_path: Path) -> None:
    state = random_state(HPARAMS)
    state["first_convolution.bias"] = state.pop("first_conv.bias")
    with pytest.raises(ValueError, match=r"weights lack first_conv\.bias; left over are first_convolution\.bias"):
        Files(tmp_path, HPARAMS, state).load()


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    state = random_state(HPARAMS)
    state["first_conv.bias"][3] = math.nan
    with pytest.raises(ValueError, match=r"not finite are first_conv\.bias"):
        Files(tmp_path, HPARAMS, state).load()


@pytest.mark.parametrize("content", [{"state_dict": 3}, {"weights": {}}, [1, 2]])
def test_another_projects_checkpoint_is_none(content: Any, files: Files) -> None:
    torch.save(content, files.checkpoint)
    with pytest.raises(ValueError, match="no checkpoint of r9y9/wavenet_vocoder: it lacks `state_dict`"):
        files.load()


class Foreign:
    """What would run code when unpickled."""


def test_objects_are_not_unpickled(files: Files) -> None:
    files.checkpoint.write_bytes(pickle.dumps(Foreign()))
    with pytest.raises(ValueError, match="objects that would run code"):
        files.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no valid JSON"),
        ("[]", "must hold an object, but holds a list"),
        ('{"name": "wavenet_vocoder"}', "must hold all hyper-parameters, but lacks sample_rate, num_mels"),
    ],
)
def test_hyper_parameters_that_say_nothing_are_refused(text: str, message: str, files: Files) -> None:
    files.hparams.write_text(text)
    with pytest.raises(ValueError, match=message):
        files.load()
