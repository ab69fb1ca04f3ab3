"""Pictures of a network: its taps, its costs, its kernel, and what it expects of each sample of a recording."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from torch.utils.flop_counter import FlopCounterMode

from conftest import DISTRIBUTIONS, speech_like_mel, tiny_config, tiny_mel_config, tiny_network, voice
from vocoder.bench.limits import count_multiply_adds
from vocoder.config import NETWORKS, VocoderConfig, WaveformConfig
from vocoder.constants import LEVELS
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.vocoder import Vocoder
from vocoder.model.wavenet import WaveNet
from vocoder.plots import draw_kernel, draw_law, draw_network
from vocoder.plots.costs import count_parts
from vocoder.plots.law import average_density
from vocoder.plots.network import trace_taps
from vocoder.plots.passage import choose_passage, follow, law_mean, level_widths, log_density

MEL = tiny_mel_config()


def make_model(distribution: str = "mixture_of_logistics", **changes: Any) -> Vocoder:
    config = tiny_config(distribution, **changes)
    return Vocoder(config, tiny_network(config))


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_the_taps_drawn_reach_back_as_far_as_the_receptive_field(config: Any) -> None:
    levels = trace_taps(config)
    np.testing.assert_array_equal(levels[0], np.arange(-(config.receptive_field - 1), 1))
    whole = VocoderConfig(network=config)
    axis = draw_network(Vocoder(whole, WaveNet(config, whole.mel))).axes[0]
    drawn = [patch.get_xy() for patch in axis.patches]
    drawn += [line for lines in axis.collections if isinstance(lines, LineCollection) for line in lines.get_segments()]
    corners = np.concatenate(drawn)
    assert corners[:, 0].min() == -(config.receptive_field - 1)
    assert corners[:, 1].max() == len(config.dilations)
    assert f"{config.receptive_field} samples" in axis.get_title("left")


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_the_taps_traced_are_the_samples_that_a_prediction_depends_on(kernel_size: int) -> None:
    config = tiny_config("gaussian", linear_prediction_order=0, kernel_size=kernel_size)
    network = tiny_network(config).double()
    waveform = torch.randn(1, 640, dtype=torch.float64, requires_grad=True)
    gates = []
    x = network.input(waveform.unsqueeze(-1))
    for layer in network.layers:
        x, z = layer(x, torch.zeros(1, 640, 6, dtype=torch.float64))
        gates.append(z)
    network.skip(torch.cat(gates, dim=-1))[0, -1].sum().backward()
    assert waveform.grad is not None
    seen = waveform.grad[0].nonzero()[:, 0].numpy() - 639
    np.testing.assert_array_equal(trace_taps(config.network)[0], seen)


KINDS = [
    *({"distribution": distribution} for distribution in DISTRIBUTIONS),
    {"num_speakers": 3},
    {"kernel_size": 3},
    {"linear_prediction_order": 0},
]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_the_parts_are_the_whole(changes: dict[str, Any]) -> None:
    network = make_model(**changes).network
    parts = {part.name: part for part in count_parts(network)}
    assert sum(part.parameters for part in parts.values()) == sum(p.numel() for p in network.parameters())
    generated = sum(part.multiply_adds for part in parts.values()) - parts["context network"].multiply_adds
    assert generated == pytest.approx(count_multiply_adds(network))


@pytest.mark.parametrize(
    "changes",
    [
        {"distribution": "gaussian"},
        {"kernel_size": 3, "distribution": "gaussian"},
        {"recent_excitations": 5},
        {"samples_per_step": 4, "recent_excitations": 5},
        {"samples_per_step": 8, "kernel_size": 3},
    ],
)
def test_multiply_adds_are_those_that_torch_counts(changes: dict[str, Any]) -> None:
    network, frames = make_model(**changes).network, 4
    config, time = network.config, frames * network.hop_length
    parts = {part.name: part.multiply_adds for part in count_parts(network)}
    mel = speech_like_mel(MEL, frames + 2 * config.margin_frames)
    with torch.no_grad():
        conditioning = network.condition(mel, padded=True)
        with FlopCounterMode(display=False) as forward:
            network(torch.zeros(1, time), conditioning)
        with FlopCounterMode(display=False) as context:
            network.context_net(mel)
    # Teacher-forced, h is interpolated and V applied at every step; generating, V is applied once a frame.
    each_sample = len(network.layers) * config.gate_channels * config.conditioning_channels
    interpolating = config.upsampling_taps * config.conditioning_channels
    same = ("linear prediction", "input", "dilated taps W", "residual", "skip", "output")
    filled = -network.input.in_features % 4 * config.residual_channels  # with zeros, for rows of a length in fours
    each_step = (each_sample + interpolating + filled) / config.samples_per_step
    assert forward.get_total_flops() / 2 / time == sum(parts[name] for name in same) + each_step
    frames_seen = frames + config.upsampling_taps - 1
    assert context.get_total_flops() / 2 / frames_seen / network.hop_length == parts["context network"]


def test_the_bars_are_as_long_as_the_counts() -> None:
    model = make_model()
    parts = count_parts(model.network)
    _, left, right = draw_network(model).axes
    assert [bar.get_width() for bar in left.patches] == [part.parameters for part in parts]
    assert [bar.get_width() for bar in right.patches] == [part.multiply_adds for part in parts]
    assert [label.get_text() for label in left.get_yticklabels()] == [part.name for part in parts]


def test_the_kernel_drawn_is_the_networks_beside_what_it_began_as() -> None:
    model = make_model(upsampling_taps=5)
    begun = model.network.upsampling.kernel.detach().clone()
    with torch.no_grad():
        model.network.upsampling.kernel += 0.1 * torch.randn_like(begun)
    lines = draw_kernel(model).axes[0].lines
    dashed = [line.get_ydata() for line in lines if line.get_linestyle() == "--" and len(line.get_ydata())]
    solid = [line.get_ydata() for line in lines if line.get_linestyle() == "-"]
    np.testing.assert_array_equal(np.stack(dashed, axis=1), begun)
    np.testing.assert_array_equal(np.stack(solid, axis=1), model.network.upsampling.kernel.detach())
    (total,) = [line.get_ydata() for line in lines if line.get_linestyle() == ":"]
    np.testing.assert_array_equal(total, np.sum(solid, axis=0))


# --- laws -------------------------------------------------------------------------------------------------------------


def recording(time: int = 8000) -> torch.Tensor:
    """A voice that is loudest from 0.5 to 0.6 seconds, at 8 kHz."""
    waveform = 0.2 * voice(150.0, time, 8000)[0]
    waveform[4000:4800] *= 3
    return (waveform * LEVELS).round() / LEVELS


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_passage_has_the_laws_that_the_whole_recording_has_there(distribution: str) -> None:
    model, waveform = make_model(distribution), recording()
    passage = follow(model, waveform, 6001, 50)
    with torch.no_grad():
        whole = model.network(waveform[None], model.network.condition(LogMelSpectrogram(MEL)(waveform[None])))[0]
    torch.testing.assert_close(passage.parameters, whole[6001:6051], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(passage.waveform, waveform[6001:6051])
    nats = -model.network.distribution.log_prob(whole, waveform)[6001:6051]
    torch.testing.assert_close(passage.bits, nats * 1.4426950408889634, atol=1e-3, rtol=1e-3)
    assert (passage.prediction is None) == (distribution == "mu_law_categorical")


def test_a_recordings_first_samples_have_a_silent_past() -> None:
    model, waveform = make_model(), recording()
    with torch.no_grad():
        whole = model.network(waveform[None], model.network.condition(LogMelSpectrogram(MEL)(waveform[None])))[0]
    torch.testing.assert_close(follow(model, waveform, 0, 50).parameters, whole[:50], atol=1e-5, rtol=1e-4)


def test_linear_prediction_is_drawn_where_the_predictor_points() -> None:
    model, waveform = make_model(), recording()
    passage = follow(model, waveform, 6000, 20)
    conditioning = model.network.condition(LogMelSpectrogram(MEL)(waveform[None]))
    for offset in range(20):
        t = 6000 + offset
        past = waveform[t - 16 : t].flip(0)
        expected = (conditioning.coefficients[0, t // MEL.hop_length] * past).sum()
        assert passage.prediction is not None
        assert float(passage.prediction[offset]) == pytest.approx(float(expected), abs=1e-5)


def test_a_network_trained_on_another_waveform_is_shown_that_one() -> None:
    model, waveform = make_model(), recording()
    model.config = replace(model.config, waveform=WaveformConfig(pre_emphasis=0.9, gain=0.5))
    expected = 0.5 * (waveform[6000:6010] - 0.9 * waveform[5999:6009])
    torch.testing.assert_close(follow(model, waveform, 6000, 10).waveform, expected)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_density_over_all_amplitudes_integrates_to_one(distribution: str) -> None:
    law = make_model(distribution).network.distribution
    parameters = 0.5 * torch.randn(3, law.num_parameters)
    levels = torch.arange(-LEVELS, LEVELS) / LEVELS
    if not law.is_continuous:
        levels = law.decode(torch.arange(law.num_parameters)).clamp(max=1 - 1e-6)  # type: ignore[attr-defined]
    grid = levels[:, None].expand(-1, 3)
    mass = log_density(law, parameters, grid).exp() * level_widths(law, grid)
    torch.testing.assert_close(mass.sum(dim=0), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(mass[7, 1].log(), law.log_prob(parameters[1], levels[7]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_mean_is_that_of_the_levels(distribution: str) -> None:
    law = make_model(distribution).network.distribution
    parameters = 0.1 * torch.randn(2, law.num_parameters)
    if law.is_continuous:
        parameters[:, -3:] -= 4  # narrow: nearly nothing lies beyond full scale, where levels end
    levels = torch.arange(-LEVELS, LEVELS) / LEVELS
    if not law.is_continuous:
        levels = law.decode(torch.arange(law.num_parameters))  # type: ignore[attr-defined]
    mass = torch.stack([law.log_prob(one.expand(len(levels), -1), levels) for one in parameters]).exp()
    torch.testing.assert_close(law_mean(law, parameters), mass @ levels, atol=1e-4, rtol=0)


def test_mu_law_levels_fill_the_amplitudes() -> None:
    law = make_model("mu_law_categorical").network.distribution
    widths = level_widths(law, law.decode(torch.arange(law.num_parameters)).clamp(max=1 - 1e-6))  # type: ignore[attr-defined]
    assert float(widths.sum()) == pytest.approx(2, abs=1e-5)


def test_a_row_of_the_picture_holds_all_that_lies_in_it() -> None:
    law = make_model("gaussian", num_components=1).network.distribution
    parameters = torch.tensor([[0.0, 0.25, np.log(1e-3)]])  # a tenth of a row wide
    density = 10 ** average_density(law, parameters, torch.zeros(1), (-1.0, 1.0))
    assert density.shape == (200, 1)
    assert density.sum() * 2 / 200 == pytest.approx(1, abs=1e-3)
    centred = 10 ** average_density(law, parameters, torch.tensor([0.25]), (-0.01, 0.01))
    assert centred.sum() * 0.02 / 200 == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(centred[:, 0], centred[::-1, 0], rtol=0.1)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_samples_and_bits_are_drawn_at_their_time(distribution: str) -> None:
    model, waveform = make_model(distribution), recording()
    figure = draw_law(model, waveform, start=0.25, seconds=0.01)
    passage = follow(model, waveform, 2000, 80)
    samples = figure.axes[0].lines[-1]
    np.testing.assert_allclose(samples.get_xdata(), np.arange(80) / 8)
    np.testing.assert_array_equal(samples.get_ydata(), passage.waveform)
    around = passage.waveform - law_mean(model.network.distribution, passage.parameters)
    np.testing.assert_array_equal(figure.axes[1].lines[-1].get_ydata(), around)
    assert figure.axes[2].lines[0].get_ydata()[0] == pytest.approx(float(passage.bits.mean()))
    assert "after 0.250 s" in figure.axes[2].get_xlabel()


def test_the_loudest_passage_is_shown_unless_another_is_asked_for() -> None:
    model, waveform = make_model(), recording()
    begin, length = choose_passage(model, waveform, None, 0.1)
    assert length == 800
    assert abs(begin - 4000) < 60  # a period
    assert choose_passage(model, waveform, 0.125, 0.01) == (1000, 80)


def test_a_passage_that_is_not_there_is_refused() -> None:
    model, waveform = make_model(), recording()
    for seconds in (0.0, -1.0, 1.1):
        with pytest.raises(ValueError, match=f"`seconds` must be positive and at most 1, .* but is {seconds:g}"):
            draw_law(model, waveform, seconds=seconds)
    for start in (-0.1, 0.95):
        with pytest.raises(ValueError, match=f"`start` must lie between 0 and 0.9, .* but is {start:g}"):
            draw_law(model, waveform, start=start, seconds=0.1)


def test_a_model_of_several_voices_asks_for_one() -> None:
    model = make_model(num_speakers=2)
    with pytest.raises(ValueError, match="`speaker` must be an index"):
        draw_law(model, recording())
    draw_law(model, recording(), speaker=1, seconds=0.005)
