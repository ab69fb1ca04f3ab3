"""What stored models mean does not change with today's defaults: bundles and checkpoints of format 1, and of ours."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder import config as config_module
from vocoder.bundles.bundle import CONFIG_FILE, WEIGHTS_FILE, load_bundle, load_checkpoint, save_bundle
from vocoder.config import DistributionConfig, MelConfig, NetworkConfig, VocoderConfig, WaveformConfig, to_dict
from vocoder.formats import FORMAT_VERSION, upgrade
from vocoder.inference.vocoder import Vocoder
from vocoder.model.wavenet import WaveNet

# What format 1 could say of a network, and of a mel when it was young.
FORMAT_1_NETWORK = (
    "residual_channels", "gate_channels", "skip_channels", "kernel_size", "dilation_cycles", "layers_per_cycle",
    "conditioning_channels", "context_frames", "upsampling_taps", "residual_scale", "skip_scale",
    "linear_prediction_order", "num_speakers", "speaker_channels", "distribution",
)  # fmt: skip
FORMAT_1_MEL = (
    "sample_rate", "n_fft", "win_length", "hop_length", "window", "n_mels", "f_min", "f_max", "mel_scale", "mel_norm",
    "power", "power_epsilon", "log", "guard", "floor", "shift", "scale", "clip", "pre_emphasis", "framing",
)  # fmt: skip


def format_1(config: VocoderConfig) -> dict[str, Any]:
    """A config as format 1 said it."""
    mel, network = to_dict(config.mel), to_dict(config.network)
    return {
        "mel": {name: mel[name] for name in FORMAT_1_MEL},
        "network": {name: network[name] for name in FORMAT_1_NETWORK},
    }


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, Path, WaveNet]:
    """A bundle and a checkpoint as they were written before there were several samples per step."""
    config = tiny_config(num_speakers=2, unvoiced_reach=None)
    network = tiny_network(config)
    folder, checkpoint = tmp_path / "bundle", tmp_path / "last.ckpt"
    folder.mkdir()
    (folder / CONFIG_FILE).write_text(json.dumps({"format_version": 1, **format_1(config), "training": {"steps": 3}}))
    safetensors.torch.save_file(network.state_dict(), folder / WEIGHTS_FILE)
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"hyper_parameters": format_1(config), "state_dict": state, "global_step": 3}, checkpoint)
    return folder, checkpoint, network


def test_models_of_format_1_are_the_networks_they_were(old: tuple[Path, Path, WaveNet]) -> None:
    folder, checkpoint, network = old
    config = tiny_config(num_speakers=2, unvoiced_reach=None)
    expected = Vocoder(config, network)
    mel = speech_like_mel(config.mel, 6)[0]
    for bundle in (load_bundle(folder), load_checkpoint(checkpoint)):
        assert bundle.config == config
        assert bundle.training["steps"] == 3
        loaded = Vocoder(bundle.config, bundle.network)
        assert torch.equal(loaded.infer(mel, speaker=1), expected.infer(mel, speaker=1))


def test_the_module_takes_the_numbers_of_a_checkpoint_of_format_1(old: tuple[Path, Path, WaveNet]) -> None:
    pytest.importorskip("lightning")
    from vocoder.training.module import VocoderModule

    module = VocoderModule(**format_1(tiny_config(num_speakers=2, unvoiced_reach=None)))
    assert module.network.config == tiny_config(num_speakers=2, unvoiced_reach=None).network
    module.network.load_state_dict(old[2].state_dict())


def test_a_checkpoint_says_its_format() -> None:
    pytest.importorskip("lightning")
    from vocoder.training.module import VocoderModule

    config = tiny_config(samples_per_step=4, recent_excitations=2)
    checkpoint: dict[str, Any] = {}
    module = VocoderModule(config.mel, config.network)
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["format_version"] == FORMAT_VERSION
    assert VocoderModule(**module.hparams).network.config == config.network


def test_the_voice_that_ships_is_of_format_1_and_runs_one_sample_per_step() -> None:
    network = Vocoder.from_pretrained("kathleen-64").config.network
    assert (network.samples_per_step, network.sample_channels, network.recent_excitations) == (1, 128, 0)


def test_what_format_1_left_unsaid_means_what_it_meant_whatever_the_defaults_are_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"format_version": 1, "mel": {"n_mels": 40}, "network": {"skip_channels": 32}}
    meant = upgrade(said, 1)
    for kind, changes in (
        (MelConfig, {"edges": "zero", "power_floor": 0.5, "layout": "frames_first", "hop_length": 128, "floor": 0.1}),
        (NetworkConfig, {"samples_per_step": 4, "kernel_size": 3, "layers_per_cycle": 2, "sample_channels": 9}),
        (DistributionConfig, {"num_components": 3}),
        (WaveformConfig, {"gain": 2.0}),
    ):
        today = kind.__init__.__defaults__  # type: ignore[misc]
        names = [entry.name for entry in dataclasses.fields(kind)]
        monkeypatch.setattr(
            kind.__init__, "__defaults__", tuple(changes.get(n, d) for n, d in zip(names, today, strict=True))
        )
        assert getattr(kind(), next(iter(changes))) == next(iter(changes.values()))
    monkeypatch.setattr(config_module.SamplingConfig.__init__, "__defaults__", (0.5, 3))
    assert upgrade(said, 1) == meant
    config = config_module.from_dict(VocoderConfig, {k: v for k, v in meant.items() if k != "format_version"})
    monkeypatch.undo()
    network = NetworkConfig(
        1,
        skip_channels=32,
        sample_channels=32,
        recent_excitations=0,
        unvoiced_reach=None,
        distribution=DistributionConfig("mixture_of_logistics", num_components=10),
    )
    assert config == VocoderConfig(MelConfig(n_mels=40), network)


def test_every_field_is_said_for_format_1() -> None:
    meant = upgrade({"mel": {}, "network": {}}, 1)
    for name, kind in (("mel", MelConfig), ("network", NetworkConfig), ("waveform", WaveformConfig)):
        assert set(meant[name]) == {entry.name for entry in dataclasses.fields(kind)}
    assert set(meant["network"]["distribution"]) == {entry.name for entry in dataclasses.fields(DistributionConfig)}


def test_what_format_2_left_unsaid_means_what_it_meant(tmp_path: Path) -> None:
    config = tiny_config(unvoiced_reach=None)
    save_bundle(tmp_path / "model", config, tiny_network(config))
    values = json.loads((tmp_path / "model" / CONFIG_FILE).read_text())
    del values["network"]["unvoiced_reach"]
    (tmp_path / "model" / CONFIG_FILE).write_text(json.dumps(values))
    assert load_bundle(tmp_path / "model").config == config


def test_what_is_written_today_is_of_the_newest_format_and_comes_back(tmp_path: Path) -> None:
    config = tiny_config(samples_per_step=4, recent_excitations=3)
    save_bundle(tmp_path / "model", config, tiny_network(config))
    assert json.loads((tmp_path / "model" / CONFIG_FILE).read_text())["format_version"] == FORMAT_VERSION
    assert load_bundle(tmp_path / "model").config == config


def test_upgrading_changes_nothing_of_what_it_is_given() -> None:
    values = format_1(tiny_config())
    before = json.dumps(values)
    upgrade(values, 1)
    assert json.dumps(values) == before


def test_a_checkpoint_of_a_newer_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    newer = FORMAT_VERSION + 1
    checkpoint = {"hyper_parameters": format_1(tiny_config()), "state_dict": {}, "format_version": newer}
    torch.save(checkpoint, tmp_path / "new.ckpt")
    message = rf"new\.ckpt has format version {newer}, but this vocoder reads up to {FORMAT_VERSION}\. Upgrade with"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(tmp_path / "new.ckpt")


# Written by each release's own code: a bundle, a checkpoint, a mel, and what was made of it by the engine `torch`.
RELEASES = sorted((Path(__file__).parent / "fixtures").glob("format-*"))


@pytest.mark.parametrize("folder", RELEASES, ids=lambda folder: folder.name)
def test_the_models_of_every_release_make_the_samples_that_they_made(folder: Path) -> None:
    with np.load(folder / "sound.npz") as sound:
        mel, expected = (torch.from_numpy(sound[name]) for name in ("mel", "waveform"))
        speaker = str(sound["speaker"]) if "speaker" in sound else None  # from 0.5 on by name
    bundle, checkpoint = load_bundle(folder), load_checkpoint(folder / "last.ckpt")
    assert bundle.training["steps"] == checkpoint.training["steps"] == 3
    assert bundle.config.speakers == checkpoint.config.speakers
    # A checkpoint does not say how its network is sampled: a bundle does.
    for network in (bundle.network, checkpoint.network):
        made = Vocoder(bundle.config, network, engine="torch").infer(mel, seed=5, speaker=speaker)
        # Another CPU's torch may round otherwise, and a hundred samples carry that on.
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-3)


def test_there_is_a_model_of_every_release() -> None:
    assert [folder.name for folder in RELEASES] == [f"format-0.{minor}" for minor in range(1, 8)]
