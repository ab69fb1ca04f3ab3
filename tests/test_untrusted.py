"""Models from elsewhere: whatever a config says, an answer comes soon, names file and field, and takes no memory."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import tiny_config, tiny_mel_config, tiny_network
from vocoder.bundles.bundle import CONFIG_FILE, load_bundle, load_checkpoint, save_bundle
from vocoder.config import to_dict

NAN, INF = float("nan"), float("inf")
SOON = 5.0  # seconds
LITTLE = 2**28  # bytes: tables, and what is nothing today

# What is said, as fields below the config, and what the answer names.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"network.layers_per_cycle": 33}, "layers_per_cycle"),
    ({"network.layers_per_cycle": 31, "network.kernel_size": 3}, "layers_per_cycle and network.kernel_size"),
    ({"network.layers_per_cycle": 10**9}, "layers_per_cycle"),
    ({"network.dilation_cycles": 10**9}, "dilation_cycles"),
    ({"network.residual_channels": 10**9}, "network.residual_channels: 1000000000"),
    ({"network.gate_channels": 2 * 10**9}, "network.gate_channels: 2000000000"),
    ({"network.skip_channels": 10**9}, "network.skip_channels: 1000000000"),
    ({"network.upsampling_taps": 10**9 + 1}, "network.upsampling_taps: 1000000001"),
    ({"network.context_frames": 10**9}, "network.context_frames: 1000000000"),
    ({"network.recent_excitations": 10**9}, "network.recent_excitations: 1000000000"),
    ({"network.num_speakers": 10**9}, "network.num_speakers: 1000000000"),
    ({"network.distribution.num_components": 10**9}, "network.distribution.num_components: 1000000000"),
    ({"network.num_speakers": 10**400}, "num_speakers must be at most"),
    ({"network.linear_prediction_order": 10**6}, "linear_prediction_order must be at most 256"),
    ({"network.kernel_size": True}, "kernel_size must be an integer, but is True"),
    ({"network.kernel_size": 2.0}, r"kernel_size must be an integer, but is 2\.0"),
    ({"network.kernel_size": None}, "kernel_size must be an integer"),
    ({"network.residual_scale": NAN}, "residual_scale must be a finite number, but is nan"),
    ({"network.residual_scale": "1"}, "residual_scale must be a finite number, but is '1'"),
    ({"network.skip_scale": -INF}, "skip_scale must be a finite number"),
    ({"network.distribution": []}, "distribution must be an object"),
    ({"network.distribution": {"name": []}}, "name must be one of"),
    ({"network": [1, 2]}, "network must be an object"),
    ({"mel": None}, "mel must be an object"),
    ({"waveform": "x"}, "waveform must be an object"),
    ({"mel.n_fft": 1, "mel.win_length": 1, "mel.hop_length": 1}, "mel.n_fft must lie between 4 and"),
    ({"mel.n_fft": 2, "mel.win_length": 2, "mel.hop_length": 2}, "mel.n_fft must lie between 4 and"),
    ({"mel.n_fft": 4, "mel.win_length": 4, "mel.hop_length": 4, "mel.f_min": 3000.0}, "mel.n_fft must be long enough"),
    ({"mel.n_fft": 10**9, "mel.win_length": 10**9}, "mel.n_fft must lie between 4 and"),
    ({"mel.n_mels": 10**9}, "mel.n_mels must be at most"),
    ({"mel.sample_rate": 10, "mel.f_max": 5.0}, "mel.sample_rate is 10 Hz"),
    ({"mel.sample_rate": 10**9}, "mel.n_fft must be long enough"),
    ({"mel.sample_rate": 10**12}, "sample_rate must be at most"),
    ({"mel.floor": INF}, "floor must be a finite number"),
    ({"mel.power": 1e300}, "power must be a finite number"),
    ({"mel.scale": 1e-30, "mel.shift": 1000.0}, "mel must have finite values"),
    ({"mel.shift": [NAN] * 8}, "mel.shift must hold finite numbers"),
    ({"mel.filterbank_sample_rate": 1.5}, "filterbank_sample_rate must be an integer"),
    ({"mel.clip": [0, NAN]}, "mel.clip must hold finite numbers"),
    ({"waveform.gain": "x"}, "gain must be a finite number"),
    ({"waveform.gain": INF}, "gain must be a finite number"),
    ({"waveform.gain": 1e-320}, "waveform.gain must be positive, 1e-6 to 1e6"),
    ({"sampling.voiced_temperature": "x"}, "voiced_temperature must be above 0"),
    ({"sampling.correction_passes": 10**9}, "correction_passes must be a whole number"),
    ({"training": [1, 2]}, "training must be an object"),
    ({"format_version": True}, "format_version"),
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    config = tiny_config(recent_excitations=3, samples_per_step=2)
    save_bundle(tmp_path / "bundle", config, tiny_network(config))
    return tmp_path / "bundle"


def say(folder: Path, changes: dict[str, Any]) -> None:
    """Change fields of a bundle's config, named by the way to them."""
    values = json.loads((folder / CONFIG_FILE).read_text())
    for way, value in changes.items():
        *above, name = way.split(".")
        here = values
        for part in above:
            here = here[part]
        here[name] = value
    (folder / CONFIG_FILE).write_text(json.dumps(values))


@pytest.mark.parametrize(("changes", "named"), WRONG, ids=[str(changes)[:60] for changes, _ in WRONG])
def test_a_config_that_describes_nothing_is_refused_soon_by_file_and_field(
    bundle: Path, changes: dict[str, Any], named: str
) -> None:
    say(bundle, changes)
    used, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ValueError, match=rf"{CONFIG_FILE} .*{named}"):
        load_bundle(bundle)
    assert time.monotonic() - started < SOON
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) * 1024 < LITTLE


@pytest.mark.parametrize("number", [10**30, 10**19, 0])
def test_a_number_may_be_said_as_an_integer_of_any_length(number: int) -> None:
    assert isinstance(tiny_mel_config(pre_emphasis=number).pre_emphasis, float)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"mel":' * 10**5, "1" * 10**5, "", "nul", '"x"', "{" + " " * 2**25 + "}", "\ud800"],
    ids=["lists", "objects", "digits", "empty", "cut", "string", "blanks", "surrogate"],
)  # fmt: skip
def test_what_is_no_config_at_all_is_refused_soon_by_its_name(bundle: Path, text: str) -> None:
    (bundle / CONFIG_FILE).write_bytes(text.encode(errors="surrogatepass"))
    started = time.monotonic()
    with pytest.raises(ValueError, match=CONFIG_FILE):
        load_bundle(bundle)
    assert time.monotonic() - started < SOON


STRANGE = {
    "expanded": lambda shape: torch.zeros(1).expand(shape),
    "without numbers": lambda shape: torch.empty(shape, device="meta"),
    "a list": lambda shape: [1.0],
    "expanded beyond": lambda shape: torch.zeros(1).expand(10**9, 10**9),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_weights_without_numbers_of_their_own_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    config = tiny_config()
    state = {f"network.{name}": weight for name, weight in tiny_network(config).state_dict().items()}
    state["network.skip.weight"] = STRANGE[kind](state["network.skip.weight"].shape)
    values = {"mel": to_dict(config.mel), "network": to_dict(config.network)}
    torch.save({"format_version": 2, "hyper_parameters": values, "state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=rf"a\.ckpt must hold the weights .*skip\.weight \({kind.split(' beyond')[0]}"):
        load_checkpoint(tmp_path / "a.ckpt")
