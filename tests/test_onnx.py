"""The ONNX graphs, run by onnxruntime, are the reference engine, sample after sample."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import DISTRIBUTIONS, speech_like_mel, tiny_config, tiny_network
from vocoder.cli.onnx import add_export_onnx
from vocoder.config import SamplingConfig, VocoderConfig, from_dict
from vocoder.engines.noise import draw_noise
from vocoder.engines.reference import ReferenceEngine
from vocoder.inference.sampler import spread_noise
from vocoder.inference.vocoder import Vocoder
from vocoder.interop import onnx as ours
from vocoder.interop.onnx import FILES, export_onnx
from vocoder.model.wavenet import Conditioning, WaveNet

pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

STEPS = 1000
STATE = ("layer_inputs", "waveform", "excitation")
TINY = {"dilation_cycles": 1, "linear_prediction_order": 3}  # torch exports every operation at its leisure


class Client:
    """Knows the two files and their documentation, nothing of the package."""

    def __init__(self, folder: Path) -> None:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        self.conditioning, self.step = (
            runtime.InferenceSession(folder / name, options) for name in ("conditioning.onnx", "step.onnx")
        )
        self.facts = self.step.get_modelmeta().custom_metadata_map
        self.hop_length, self.margin = int(self.facts["hop_length"]), int(self.facts["margin_frames"])
        self.samples_per_step = int(self.facts["samples_per_step"])

    def condition(self, mel: np.ndarray, **speaker: np.ndarray) -> dict[str, np.ndarray]:
        padded = np.pad(mel, [(0, 0), (0, 0), (self.margin, self.margin)], mode="edge")
        return self.condition_padded(padded, **speaker)

    def condition_padded(self, mel: np.ndarray, **speaker: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.conditioning.get_outputs()]
        return dict(zip(names, self.conditioning.run(None, {"mel": mel, **speaker}), strict=True))

    def given(self, conditioning: dict[str, np.ndarray], noise: np.ndarray, n: int) -> dict[str, np.ndarray]:
        """All inputs of a step but its state."""
        t, step = n * self.samples_per_step, self.samples_per_step
        f = t // self.hop_length
        frame = {name: conditioning[name][:, f] for name in ("coefficients", "scale", "lag", "reach")}
        spread = noise[:, t : t + step].copy()
        spread[:, :, 1] *= conditioning["spread"][:, f, None]
        now = {"noise": spread, "temperature": np.array(1, np.float32), "position": np.array([t])}
        return {"h": conditioning["h"][:, n], **frame, **now}

    def silence(self, batch: int) -> dict[str, np.ndarray]:
        shapes = {
            one.name: [batch if size == "batch" else size for size in one.shape] for one in self.step.get_inputs()
        }
        return {name: np.zeros(shapes[name], np.float32) for name in STATE}

    def generate(self, conditioning: dict[str, np.ndarray], noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Samples and parameters of their laws."""
        state, samples, laws = self.silence(len(noise)), [], []
        for n in range(noise.shape[1] // self.samples_per_step):
            sample, law, *after = self.step.run(None, {**self.given(conditioning, noise, n), **state})
            state = dict(zip(STATE, after, strict=True))
            samples.append(sample)
            laws.append(law)
        return np.concatenate(samples, axis=1), np.concatenate(laws, axis=1)


def inputs(config: VocoderConfig, network: WaveNet, batch: int, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Mel and noise of so many samples, or a few more that fill a frame."""
    frames = -(-steps // config.mel.hop_length)
    mel = speech_like_mel(config.mel, frames, batch)
    return mel, draw_noise(network.distribution, 0, range(batch), 0, frames * config.mel.hop_length)


@torch.no_grad()
def condition(config: VocoderConfig, network: WaveNet, mel: Tensor) -> tuple[Conditioning, dict[str, np.ndarray]]:
    """By torch, and what the client is to be told about the speaker."""
    speakers = torch.arange(len(mel)) % network.config.num_speakers if network.config.num_speakers else None
    conditioning = network.condition(mel, speakers, voiced_temperature=config.sampling.voiced_temperature)
    return conditioning, {} if speakers is None else {"speaker": speakers.numpy()}


Exported = tuple[VocoderConfig, WaveNet, Client]


@pytest.fixture(
    scope="module", params=[{}, {"samples_per_step": 4, "recent_excitations": 2}], ids=["1 a step", "4 a step, recent"]
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    config = replace(tiny_config(**TINY, **request.param), sampling=SamplingConfig(0.5))
    network, folder = tiny_network(config), tmp_path_factory.mktemp("onnx")
    export_onnx(folder, config, network)
    return config, network, Client(folder)


def check_equals_the_reference(config: VocoderConfig, network: WaveNet, client: Client) -> None:
    mel, noise = inputs(config, network, batch=2)
    torchs, speaker = condition(config, network, mel)
    samples, parameters = client.generate(client.condition(mel.numpy(), **speaker), noise.numpy())
    engine = ReferenceEngine(network)
    laws = engine.force(torchs, torch.from_numpy(samples), engine.initial_state(2))
    # 1e-4 of a logit, of full scale and of a logarithm: what float32 leaves after layers in another order of sums.
    np.testing.assert_allclose(parameters, laws.numpy(), rtol=1e-4, atol=1e-4)
    # A logarithm or a rounding may differ: by less than a level, or where the noise falls between two of them.
    drawn = network.distribution.sample(laws, spread_noise(noise, torchs))
    assert (np.abs(samples - drawn.numpy()) > 1e-5).mean() < 0.01
    assert samples.std() > 1e-3


def test_teacher_forced_laws_are_the_reference_engines_for_a_thousand_steps(exported: Exported) -> None:
    check_equals_the_reference(*exported)


def test_running_free_the_samples_stay_with_the_reference_engines(exported: Exported) -> None:
    """Here all thousand are equal; where sums round otherwise one may land a level off, and others follow it slowly."""
    config, network, client = exported
    mel, noise = inputs(config, network, batch=1, steps=200)
    engine, torchs = ReferenceEngine(network), condition(config, network, mel)[0]
    assert torchs.spread.unique().numel() > 1
    waveform = engine.generate(torchs, spread_noise(noise, torchs), engine.initial_state(1))
    samples, _ = client.generate(client.condition(mel.numpy()), noise.numpy())
    np.testing.assert_allclose(samples, waveform.numpy(), atol=1e-3)


def test_the_conditioning_is_torchs_for_any_batch_and_number_of_frames(exported: Exported) -> None:
    config, network, client = exported
    for batch, frames in ((1, 1), (3, 20)):
        mel = speech_like_mel(config.mel, frames, batch)
        torchs, own = condition(config, network, mel)[0], client.condition(mel.numpy())
        np.testing.assert_allclose(own["h"], network.upsample(torchs).detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(own["coefficients"], torchs.coefficients.numpy(), atol=1e-5)
        np.testing.assert_allclose(own["scale"], torchs.scale.numpy(), rtol=1e-5)
        np.testing.assert_array_equal(own["lag"], torchs.lag.numpy())
        np.testing.assert_array_equal(own["reach"], torchs.reach.numpy())
        np.testing.assert_allclose(own["spread"], torchs.spread.numpy(), atol=1e-5)


def test_silence_has_the_least_scale_that_torchs_has(exported: Exported) -> None:
    """A variance of 1 / 12 levels squared is no zero, whatever an optimiser thinks."""
    config, network, client = exported
    mel = torch.full((1, config.mel.n_mels, 3), config.mel.log_floor)
    expected = condition(config, network, mel)[0].scale.numpy()
    np.testing.assert_allclose(client.condition(mel.numpy())["scale"], expected, rtol=1e-6)


def test_frames_with_their_neighbours_are_conditioned_as_in_the_whole(exported: Exported) -> None:
    config, _, client = exported
    mel, margin, hop = speech_like_mel(config.mel, 20).numpy(), client.margin, client.hop_length
    whole, part = client.condition(mel), client.condition_padded(mel[..., 10 - margin : 15 + margin])
    hop //= client.samples_per_step
    np.testing.assert_allclose(part["h"], whole["h"][:, 10 * hop : 15 * hop], atol=1e-5)
    np.testing.assert_allclose(part["coefficients"], whole["coefficients"][:, 10:15], atol=1e-5)


def test_the_state_may_be_written_in_place(exported: Exported) -> None:
    """Which saves copying it at every step: no row is written before it is read."""
    config, network, client = exported
    mel, noise = (one.numpy() for one in inputs(config, network, batch=1, steps=100))
    conditioning = client.condition(mel)
    expected, _ = client.generate(conditioning, noise)
    state = {name: runtime.OrtValue.ortvalue_from_numpy(value) for name, value in client.silence(1).items()}
    binding, samples = client.step.io_binding(), []
    for name, value in state.items():
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(f"next_{name}", value)
    binding.bind_output("samples")
    binding.bind_output("parameters")
    for n in range(noise.shape[1] // client.samples_per_step):
        for name, value in client.given(conditioning, noise, n).items():
            binding.bind_cpu_input(name, value)
        client.step.run_with_iobinding(binding)
        samples.append(binding.copy_outputs_to_cpu()[-2])
    np.testing.assert_array_equal(np.concatenate(samples, axis=1), expected)


def test_the_metadata_say_what_a_client_must_know(exported: Exported) -> None:
    config, _, client = exported
    facts = client.conditioning.get_modelmeta().custom_metadata_map
    assert facts == client.facts
    assert from_dict(VocoderConfig, json.loads(facts["config"])) == config
    assert (facts["sample_rate"], facts["hop_length"], facts["margin_frames"]) == ("8000", "16", "3")
    assert facts["samples_per_step"] == str(config.network.samples_per_step)
    assert facts["noise"] == "uniform in (0, 1), standard logistic"


def test_every_law_has_a_kind_of_noise() -> None:
    assert set(ours.NOISE) == set(DISTRIBUTIONS)


@pytest.mark.slow
def test_the_command_speaks_only_when_it_is_done_and_replaces_nothing_unasked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config("mu_law_categorical", layers_per_cycle=1, dilation_cycles=1)
    Vocoder(config, tiny_network(config)).save_pretrained(tmp_path / "model")
    assert run(str(tmp_path / "model"), tmp_path / "graphs") is None
    assert capfd.readouterr() == (f"{tmp_path / 'graphs'}\n", "")
    assert sorted(file.name for file in (tmp_path / "graphs").iterdir()) == sorted(FILES)
    with pytest.raises(FileExistsError, match=r"Nothing is replaced unasked, .*step\.onnx\. Pass --overwrite"):
        run("model", tmp_path / "graphs")


def run(model: str, folder: Path) -> None:
    """`vocoder export-onnx MODEL FOLDER`."""
    parser = argparse.ArgumentParser()
    add_export_onnx(parser.add_subparsers())
    options = parser.parse_args(["export-onnx", model, str(folder)])
    options.run(options)


def test_without_onnxscript_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ModuleNotFoundError, match=r"needs onnxscript, .* `pip install 'vocoder\[onnx\]'`"):
        export_onnx(tmp_path / "graphs", tiny_config(), tiny_network())
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_breaks_off_leaves_the_graphs_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: VocoderConfig, network: WaveNet, path: Path) -> None:
        path.write_bytes(b"half a graph")
        raise OSError("no space left on device")

    for name in FILES:
        (tmp_path / name).write_text("of before")
    monkeypatch.setattr(ours, "_export_conditioning", lambda config, network, path: path.touch())
    monkeypatch.setattr(ours, "_export_step", broken)
    with pytest.raises(OSError, match="no space left"):
        export_onnx(tmp_path, tiny_config(), tiny_network())
    assert [(tmp_path / name).read_text() for name in FILES] == ["of before"] * 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distribution", "changes"),
    [
        ("gaussian", TINY),
        ("mu_law_categorical", {"layers_per_cycle": 2}),
        ("mixture_of_logistics", {"linear_prediction_order": 0, "kernel_size": 3}),
        ("gaussian", {"linear_prediction_order": 0, "num_components": 1, "upsampling_taps": 1, "context_frames": 0}),
        ("gaussian", {**TINY, "samples_per_step": 4, "num_speakers": 3}),
        ("mixture_of_logistics", {**TINY, "num_speakers": 3, "residual_scale": 0.5**0.5, "kernel_size": 3}),
    ],
)
def test_so_are_those_of_every_kind_of_network(distribution: str, changes: dict[str, Any], tmp_path: Path) -> None:
    config = tiny_config(distribution, **changes)
    network = tiny_network(config)
    export_onnx(tmp_path, config, network)
    check_equals_the_reference(config, network, Client(tmp_path))


@pytest.mark.slow
def test_so_are_those_of_the_voice_that_ships(tmp_path: Path) -> None:
    model = Vocoder.from_pretrained("kathleen-64")
    export_onnx(tmp_path, model.config, model.network)
    check_equals_the_reference(model.config, model.network, Client(tmp_path))
