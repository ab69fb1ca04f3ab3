from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vocoder.config import (
    NETWORKS,
    DistributionConfig,
    MelConfig,
    NetworkConfig,
    SamplingConfig,
    VocoderConfig,
    from_dict,
    to_dict,
)
from vocoder.model.wavenet import WaveNet

VARIED = VocoderConfig(
    MelConfig(n_mels=4, shift=(1.0, 2.0, 3.0, 4.0), scale=2.0, clip=(-4.0, 4.0), log="db", guard="add"),
    NetworkConfig(
        samples_per_step=1,
        kernel_size=3,
        num_speakers=7,
        skip_scale=0.5,
        recent_excitations=0,
        linear_prediction_order=0,
        distribution=DistributionConfig("mu_law_categorical", bits=10),
    ),
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": 0}, "mel.sample_rate must be positive, but is 0"),
        ({"n_mels": -1}, "mel.n_mels must be positive, but is -1"),
        ({"win_length": 2048}, "hop_length <= win_length <= n_fft, but has 256, 2048, 1024"),
        ({"hop_length": 1025}, "hop_length <= win_length <= n_fft, but has 1025, 1024, 1024"),
        ({"f_max": 12_000.0}, r"f_max <= sample_rate / 2 = 11025 Hz, but has f_min 0 and f_max 12000\. Lower f_max"),
        ({"f_min": 8000.0}, "0 <= f_min < f_max"),
        ({"f_min": -1.0}, "0 <= f_min < f_max"),
        ({"filterbank_sample_rate": 0}, "mel.filterbank_sample_rate must be positive, or left out, but is 0"),
        ({"filterbank_sample_rate": 12_000}, r"f_max <= sample_rate / 2 = 6000 Hz, but has f_min 0 and f_max 8000"),
        ({"power_epsilon": -1e-9}, "mel.power_epsilon must be >= 0, but is -1e-09"),
        ({"power_floor": -1.0}, r"mel.power_floor must be >= 0, but is -1\.0"),
        ({"edges": "wrap"}, "edges must be one of reflect, zero, but is 'wrap'"),
        ({"layout": "time_first"}, "layout must be one of bands_first, frames_first, but is 'time_first'"),
        ({"floor": 0.0}, r"mel.floor must be positive, but is 0\.0"),
        ({"shift": (0.0, 1.0)}, "mel.shift needs 80 values, but has 2"),
        ({"scale": [1.0] * 79}, "mel.scale needs 80 values, but has 79"),
        ({"scale": 0.0}, r"mel.scale must be positive, but holds 0\.0"),
        ({"shift": ("low", "high")}, r"mel\.shift must hold numbers, but is \('low', 'high'\)\. Pass a number"),
        ({"scale": np.ones((80, 1))}, r"mel\.scale must hold numbers, but is \[\[1\.0\], .*a flat list"),
        ({"scale": np.zeros(80)}, r"mel\.scale must be positive, but holds 0\.0"),
        ({"clip": (-1,)}, r"mel\.clip must be two numbers, the lower first, but is \(-1\.0,\)\. Leave it out"),
        ({"clip": 1.0}, r"mel\.clip must be two numbers, the lower first, but is 1\.0"),
        ({"clip": (0.0, 1.0, 2.0)}, r"mel\.clip must be two numbers"),
        ({"clip": (4.0, -4.0)}, r"mel\.clip must be two numbers, the lower first, but is \(4\.0, -4\.0\)"),
        ({"mel_scale": "mel"}, "mel_scale must be one of slaney, htk, but is 'mel'"),
        ({"log": "log2"}, "log must be one of ln, log10, db, but is 'log2'"),
    ],
)
def test_a_mel_that_cannot_be_is_refused_with_the_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MelConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual_channels": 0}, "network.residual_channels must be positive, but is 0"),
        ({"layers_per_cycle": 0}, "network.layers_per_cycle must be positive, but is 0"),
        ({"gate_channels": 127}, "network.gate_channels must be even, but is 127"),
        ({"kernel_size": 1}, "network.kernel_size must be at least 2, but is 1"),
        ({"context_frames": -1}, "network.context_frames must be >= 0, but is -1"),
        ({"linear_prediction_order": -1}, "network.linear_prediction_order must be >= 0, but is -1"),
        ({"num_speakers": -1}, "network.num_speakers must be >= 0, but is -1"),
        ({"upsampling_taps": 2}, "network.upsampling_taps must be positive and odd, but is 2"),
        ({"upsampling_taps": -1}, "network.upsampling_taps must be positive and odd, but is -1"),
        (
            {"distribution": DistributionConfig("mu_law_categorical")},
            r"distribution is mu_law_categorical\. Set network.linear_prediction_order to 0",
        ),
        ({"samples_per_step": 0}, "network.samples_per_step must be positive, but is 0"),
        ({"samples_per_step": 4.0}, r"samples_per_step must be an integer, but is 4\.0"),
        ({"sample_channels": 0}, "network.sample_channels must be positive, but is 0"),
        ({"unvoiced_reach": 0.0}, "network.unvoiced_reach must be positive, or null for no bound, but is 0.0"),
        ({"recent_excitations": -1}, "network.recent_excitations must be >= 0, but is -1"),
        (
            {"samples_per_step": 4, "recent_excitations": 0, "linear_prediction_order": 0},
            r"network\.samples_per_step is 4, but without linear prediction .* Set it to 1, or .*_order to 16",
        ),
        (
            {"samples_per_step": 1, "recent_excitations": 3, "linear_prediction_order": 0},
            r"network\.recent_excitations is 3, but without linear prediction .* Set it to 0, or .*_order to 16",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused_with_the_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_components": 0}, "num_components must be at least 1, but is 0"),
        ({"name": "laplace"}, "name must be one of mixture_of_logistics, gaussian, mu_law.*, but is 'laplace'"),
        ({"bits": 1}, "bits must lie between 2 and 12, but is 1"),
        ({"bits": 13}, "bits must lie between 2 and 12, but is 13"),
    ],
)
def test_a_distribution_that_cannot_be_is_refused_with_the_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistributionConfig(**changes)


@pytest.mark.parametrize("config", [VocoderConfig(), VARIED])
def test_a_config_survives_a_dict_and_json(config: VocoderConfig) -> None:
    assert from_dict(VocoderConfig, to_dict(config)) == config
    assert from_dict(VocoderConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_a_config_can_be_a_key_whatever_it_was_read_from() -> None:
    assert hash(from_dict(VocoderConfig, json.loads(json.dumps(to_dict(VARIED))))) == hash(VARIED)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list])
def test_numbers_of_a_mel_may_come_in_any_array(kind: Any) -> None:
    given = MelConfig(n_mels=2, shift=kind([1.0, 2.0]), scale=kind([3.0, 4.0]), clip=kind([-4.0, 4.0]))
    assert given == MelConfig(n_mels=2, shift=(1.0, 2.0), scale=(3.0, 4.0), clip=(-4.0, 4.0))
    assert from_dict(MelConfig, json.loads(json.dumps(to_dict(given)))) == given


@pytest.mark.parametrize("kind", [np.asarray, np.float32, torch.tensor, int])
def test_a_number_of_a_mel_may_come_in_any_kind(kind: Any) -> None:
    given = MelConfig(shift=kind(-5), scale=kind(2))
    assert given == MelConfig(shift=-5.0, scale=2.0)
    assert json.dumps(to_dict(given)) == json.dumps(to_dict(MelConfig(shift=-5.0, scale=2.0)))


def test_missing_fields_take_their_defaults() -> None:
    assert from_dict(VocoderConfig, {"network": {"kernel_size": 3}}).network == NetworkConfig(kernel_size=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"melody": {}}, "VocoderConfig has no field melody; it has mel, network"),
        ({"mel": {"n_mel": 80}}, "MelConfig has no field n_mel; it has .*n_mels"),
        ({"network": {"distribution": {"components": 3}}}, "DistributionConfig has no field components"),
        ({"network": {"b": 1, "a": 2}}, "NetworkConfig has no field a, b;"),
    ],
)
def test_an_unknown_field_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict(VocoderConfig, values)


def test_a_rule_also_holds_for_what_is_read() -> None:
    with pytest.raises(ValueError, match=r"mel\.n_mels must be positive"):
        from_dict(VocoderConfig, {"mel": {"n_mels": 0}})


def test_dilations_double_within_a_cycle_and_start_again() -> None:
    assert NetworkConfig(dilation_cycles=2, layers_per_cycle=4).dilations == (1, 2, 4, 8, 1, 2, 4, 8)


@pytest.mark.parametrize(
    ("kernel_size", "cycles", "layers", "expected"),
    [
        (2, 1, 10, 1024),  # van den Oord et al. 2016, section 2.1: "a receptive field of size 1024"
        (2, 2, 10, 2047),
        (2, 3, 10, 3070),
        (3, 4, 6, 505),  # r9y9/wavenet_vocoder, receptive_field_size(24, 4, 3)
    ],
)
def test_receptive_field_is_one_plus_the_reach_of_all_layers(
    kernel_size: int, cycles: int, layers: int, expected: int
) -> None:
    config = NetworkConfig(1, kernel_size=kernel_size, dilation_cycles=cycles, layers_per_cycle=layers)
    assert config.receptive_field == expected
    assert replace(config, samples_per_step=8).receptive_field == 8 * expected


@pytest.mark.parametrize(("step", "hop_length", "divisors"), [(8, 275, "1, 5, 11"), (3, 256, "1, 2, 4, 8, 16")])
def test_steps_that_do_not_fill_a_frame_are_refused_with_those_that_do(
    step: int, hop_length: int, divisors: str
) -> None:
    mel, network = MelConfig(hop_length=hop_length), NetworkConfig(step)
    message = rf"samples_per_step must divide mel\.hop_length, but {step} does not divide {hop_length}\. "
    for build in (lambda: VocoderConfig(mel, network), lambda: WaveNet(network, mel)):
        with pytest.raises(ValueError, match=message + rf"Take one of {divisors}\."):
            build()


@pytest.mark.parametrize(("rate", "longest"), [(8000, 12), (22_050, 32)])
def test_a_step_longer_than_the_shortest_lag_is_refused_with_the_longest_that_is_not(rate: int, longest: int) -> None:
    mel = MelConfig(sample_rate=rate, f_max=4000.0, hop_length=4 * longest)
    assert WaveNet(NetworkConfig(longest, layers_per_cycle=1), mel).samples_per_step == longest
    message = rf"samples_per_step must be at most .* {longest} samples .* {rate} Hz, but is {2 * longest}\. Take "
    with pytest.raises(ValueError, match=message + f"{longest} or fewer"):
        WaveNet(NetworkConfig(2 * longest, layers_per_cycle=1), mel)


@pytest.mark.parametrize("temperature", [0.0, -0.5, 1.01, math.inf, math.nan])
def test_a_voiced_temperature_lies_above_zero_and_at_most_at_one(temperature: float) -> None:
    message = rf"voiced_temperature must be above 0 and at most 1, but is {temperature}\. Take 1 to sample"
    with pytest.raises(ValueError, match=message):
        SamplingConfig(temperature)


@pytest.mark.parametrize("passes", [-1, 17, 1.5, True, "2"])
def test_the_passes_of_a_correction_are_from_none_to_sixteen(passes: Any) -> None:
    message = rf"correction_passes must be a whole number from 0 to 16, but is {passes!r}\. Take 0 to leave"
    with pytest.raises(ValueError, match=message):
        SamplingConfig(correction_passes=passes)


def test_a_network_that_does_not_ask_what_is_voiced_cannot_be_sharpened_there() -> None:
    plain = NetworkConfig(1, recent_excitations=0, linear_prediction_order=0)
    assert VocoderConfig(network=plain).sampling.voiced_temperature == 1
    with pytest.raises(ValueError, match=r"voiced_temperature is 0\.7, but a network without linear .* Set it to 1\."):
        VocoderConfig(network=plain, sampling=SamplingConfig(0.7))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_named_network_fits_the_default_mel(name: str) -> None:
    assert VocoderConfig(network=NETWORKS[name]).network.samples_per_step == {"-g4": 4, "-g8": 8}.get(name[-3:], 1)


def test_margin_is_the_context_and_half_the_upsampling() -> None:
    assert NetworkConfig(context_frames=2, upsampling_taps=3).margin_frames == 3
    assert NetworkConfig(context_frames=0, upsampling_taps=1).margin_frames == 0


@pytest.mark.parametrize(("log", "expected"), [("ln", math.log(1e-5)), ("log10", -5.0), ("db", -100.0)])
def test_the_floor_is_expressed_in_the_dialects_logarithm(log: Any, expected: float) -> None:
    assert MelConfig(log=log, floor=1e-5).log_floor == pytest.approx(expected, abs=1e-12)


def test_values_start_at_the_normalised_floor() -> None:
    config = MelConfig(n_mels=2, log="db", shift=(-100.0, 0.0), scale=(1.0, 10.0))
    # The first band's floor is (-100 + 100) / 1 = 0, the second's (-100 - 0) / 10 = -10: each with its own scale.
    assert config.value_range[0] == pytest.approx(-10.0)
    assert MelConfig(clip=(-4.0, 4.0)).value_range == (-4.0, 4.0)
