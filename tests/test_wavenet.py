from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import reference
from conftest import DISTRIBUTIONS, speech_like_mel, tiny_config, tiny_network, voice
from vocoder.config import NETWORKS, MelConfig, VocoderConfig
from vocoder.features.mel import LogMelSpectrogram
from vocoder.model.wavenet import PARTS, Conditioning, WaveNet, count_weights

HOP_LENGTH = 16
VARIANTS = {
    "mixture": {},
    "mixture, plain": {"linear_prediction_order": 0},
    "one component": {"num_components": 1},
    "gaussian": {"distribution": "gaussian"},
    "gaussian, plain": {"distribution": "gaussian", "linear_prediction_order": 0},
    "mu-law": {"distribution": "mu_law_categorical"},
    "kernel of 3": {"kernel_size": 3, "residual_scale": 0.5**0.5},
    "mu-law, kernel of 3": {"distribution": "mu_law_categorical", "kernel_size": 3},
    "order 4": {"linear_prediction_order": 4, "skip_scale": 0.3},
    "no context": {"context_frames": 0, "upsampling_taps": 1},
    "speakers": {"num_speakers": 5},
    "recent": {"recent_excitations": 5, "sample_channels": 7},
    "2 a step": {"samples_per_step": 2, "kernel_size": 3},
    "4 a step, recent": {"samples_per_step": 4, "recent_excitations": 3, "distribution": "gaussian"},
    "8 a step": {"samples_per_step": 8},
    "8 a step, recent, speakers": {"samples_per_step": 8, "recent_excitations": 9, "num_speakers": 5},
    "8 a step, order 4": {"samples_per_step": 8, "recent_excitations": 2, "linear_prediction_order": 4},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())


def random_waveform(frames: int, batch: int = 1) -> Tensor:
    """Noise on levels of 16 bits, at a fifth of full scale."""
    return ((0.2 * torch.randn(batch, frames * HOP_LENGTH)).clamp(-1, 0.999) * 32_768).round() / 32_768


def speaker_of(config: VocoderConfig, batch: int = 1) -> Tensor | None:
    return torch.full((batch,), 2) if config.network.num_speakers else None


def precision(name: str) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if name == "bf16" else nullcontext()


@variants
def test_parameters_equal_the_naive_reference(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network = tiny_network(config)
    mel, waveform, speaker = speech_like_mel(config.mel, 4), random_waveform(4), speaker_of(config)
    with torch.no_grad():
        parameters = network(waveform, network.condition(mel, speaker))
    expected = reference.wavenet(
        network.state_dict(),
        config,
        mel[0].numpy(),
        waveform[0].double().numpy(),
        speaker=None if speaker is None else int(speaker),
    )
    # float32 against float64; a parameter of order one to four digits.
    np.testing.assert_allclose(parameters[0].numpy(), expected, rtol=1e-4, atol=1e-4)


@variants
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_output_never_depends_on_future_samples(changes: dict[str, Any], dtype: str) -> None:
    config = tiny_config(**changes)
    network = tiny_network(config)
    waveform = random_waveform(4, batch=2)
    with torch.no_grad(), precision(dtype):
        conditioning = network.condition(speech_like_mel(config.mel, 4, batch=2), speaker_of(config, 2))
        before = network(waveform, conditioning)
        # The ends, and every place of the longest step.
        for t in (0, 1, HOP_LENGTH - 1, *range(32, 41), 4 * HOP_LENGTH - 2, 4 * HOP_LENGTH - 1):
            changed = waveform.clone()
            changed[:, t] = -changed[:, t] + 0.5
            after = network(changed, conditioning)
            assert torch.equal(after[:, : t + 1], before[:, : t + 1])
            if t + 1 < 4 * HOP_LENGTH:
                assert not torch.equal(after[:, t + 1], before[:, t + 1])


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("distribution", ["mixture_of_logistics", "gaussian"])
def test_a_sample_depends_on_exactly_its_receptive_field(distribution: str, kernel_size: int) -> None:
    config = tiny_config(distribution, kernel_size=kernel_size, linear_prediction_order=0)
    network = tiny_network(config).double()
    waveform = random_waveform(4).double().requires_grad_()
    conditioning = network.condition(speech_like_mel(config.mel, 4).double())
    t = 60
    network(waveform, conditioning)[0, t].sum().backward()
    assert waveform.grad is not None
    reached = waveform.grad[0].nonzero().flatten().tolist()
    assert reached == list(range(t - network.receptive_field, t))


STEPPED = {name: changes for name, changes in VARIANTS.items() if "samples_per_step" in changes}


@pytest.mark.parametrize("changes", [{}, *STEPPED.values()], ids=["1 a step", *STEPPED])
def test_a_sample_depends_on_nothing_before_its_past_and_on_all_that_its_layers_see(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network, step = tiny_network(config).double(), config.network.samples_per_step
    waveform = random_waveform(20).double().requires_grad_()
    conditioning = network.condition(speech_like_mel(config.mel, 20).double(), speaker_of(config))
    conditioning = replace(
        conditioning, coefficients=conditioning.coefficients.double(), scale=conditioning.scale.double()
    )
    for t in range(304, 304 + step):  # each place of a step
        (gradient,) = torch.autograd.grad(network(waveform, conditioning)[0, t].sum(), waveform)
        reached = gradient[0].nonzero().flatten().tolist()
        # Of its own step, the predictor and the recent excitations reach the last ones.
        own = range(max(304, t - config.network.linear_prediction_order), t)
        assert {*range(304 - network.receptive_field, 304), *own} <= set(reached)
        assert t - network.past_length <= reached[0]
        assert reached[-1] == t - 1


STEPS = {
    "1 a step": {},
    "1 a step, recent": {"recent_excitations": 4},
    "2 a step": {"samples_per_step": 2},
    "4 a step, recent": {"samples_per_step": 4, "recent_excitations": 3},
    "8 a step": {"samples_per_step": 8},
    "8 a step, recent": {"samples_per_step": 8, "recent_excitations": 8},
}
steps = pytest.mark.parametrize("changes", STEPS.values(), ids=STEPS.keys())


def voiced_config(**changes: Any) -> VocoderConfig:
    """Real periods, of up to 367 samples."""
    return tiny_config(mel=MelConfig(hop_length=64), **changes)


VOICED = voiced_config()


@steps
@pytest.mark.parametrize("pitch", [80.0, 200.0])
def test_parameters_of_a_voice_equal_the_naive_reference_over_several_periods(
    pitch: float, changes: dict[str, Any]
) -> None:
    config = voiced_config(**changes)
    network, waveform = tiny_network(config), voice(pitch, 12 * 64)
    mel = LogMelSpectrogram(config.mel)(waveform)
    with torch.no_grad():
        conditioning = network.condition(mel)
        parameters = network(waveform, conditioning)
    assert conditioning.lag.median().item() == pytest.approx(22_050 / pitch - 8, rel=0.03)  # and a lead of 8
    expected = reference.wavenet(network.state_dict(), config, mel[0].numpy(), waveform[0].double().numpy())
    np.testing.assert_allclose(parameters[0].numpy(), expected, rtol=1e-4, atol=1e-4)


@steps
def test_a_sample_is_heard_once_more_as_its_echo(changes: dict[str, Any]) -> None:
    config = voiced_config(**changes)
    network, waveform, changed_at = tiny_network(config), voice(100.0, 12 * 64), 300
    steady = LogMelSpectrogram(config.mel)(waveform)[..., 5:6].expand(-1, -1, 12)
    conditioning = network.condition(steady)
    lag = int(conditioning.lag[0, 0])
    assert lag == pytest.approx(22_050 / 100 - 8, rel=0.03)
    changed = waveform.clone()
    changed[0, changed_at] += 0.1
    with torch.no_grad():
        differs = network(changed, conditioning) != network(waveform, conditioning)
    heard = differs.any(dim=-1)[0].nonzero().flatten().tolist()
    # The sample and the `order` excitations after it that it is predicted from, each for as long as the layers see it:
    # from the beginning of the step in which it is to the end of the last one that sees it.
    order, field, step = config.network.linear_prediction_order, network.receptive_field, network.samples_per_step
    at_once = range(changed_at + 1, changed_at + order + field + step)
    first = (changed_at + lag) // step * step
    as_echo = range(first, changed_at + lag + order + field + step - 1)
    assert set(heard) <= {*at_once, *as_echo}
    assert {changed_at + 1, first, changed_at + lag} <= set(heard)


@steps
def test_before_the_first_period_there_is_no_echo(changes: dict[str, Any]) -> None:
    config = voiced_config(**changes)
    network, step, waveform = tiny_network(config), config.network.samples_per_step, voice(100.0, 12 * 64)
    conditioning = network.condition(LogMelSpectrogram(config.mel)(waveform))
    arrived = torch.arange(12 * 64) >= conditioning.lag[0].repeat_interleave(64)
    first = int(arrived.nonzero()[0]) // step * step  # the layers read it at the beginning of its step
    with torch.no_grad():
        with_echo = network(waveform, conditioning)
        network.input.weight[:, -step:] = 0
        if network.recent is not None:
            network.recent.weight[:, -1] = 0
        without = network(waveform, conditioning)
    assert torch.equal(with_echo[:, :first], without[:, :first])
    assert not torch.equal(with_echo[:, first], without[:, first])


def test_a_categorical_sample_depends_on_its_receptive_field_alone() -> None:
    network = tiny_network(tiny_config("mu_law_categorical"))
    conditioning, waveform = network.condition(speech_like_mel(tiny_config().mel, 4)), random_waveform(4)
    t, reached = 60, []
    with torch.no_grad():
        before = network(waveform, conditioning)[0, t]
        for past in range(t):
            changed = waveform.clone()
            changed[0, past] = -changed[0, past] - 0.3
            if not torch.equal(network(changed, conditioning)[0, t], before):
                reached.append(past)
    assert reached == list(range(t - network.receptive_field, t))


def test_the_receptive_field_in_milliseconds() -> None:
    network = tiny_network()
    assert network.receptive_field == 1 + 2 * (1 + 2 + 4)  # two cycles of dilations 1, 2, 4; kernel of 2
    assert network.receptive_field_ms == pytest.approx(1000 * 15 / 8000)


@variants
def test_a_segment_with_its_surroundings_equals_the_interior_of_the_utterance(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network = tiny_network(config)
    # A segment does not know the echoes of what lies before it, nor what its layers said there.
    known = network.receptive_field + (network.pitch_lag.longest if network.pitch_lag is not None else 0)
    first, last, margin = 5, 7 + known // HOP_LENGTH, config.network.margin_frames
    mel, waveform, speaker = speech_like_mel(config.mel, last + 4), random_waveform(last + 4), speaker_of(config)
    start, stop = first * HOP_LENGTH, last * HOP_LENGTH
    past = waveform[:, start - network.history_length : start]
    with torch.no_grad():
        whole = network(waveform, network.condition(mel, speaker))[:, start:stop]
        surroundings = mel[..., first - margin : last + margin]
        part = network(waveform[:, start:stop], network.condition(surroundings, speaker, padded=True), past)
    assert known < stop - start
    torch.testing.assert_close(part[:, known:], whole[:, known:], rtol=1e-4, atol=1e-5)


def test_a_slice_of_the_conditioning_is_the_conditioning_of_the_slice() -> None:
    config = tiny_config(num_speakers=5)
    network, margin = tiny_network(config), config.network.margin_frames
    mel, speaker = speech_like_mel(config.mel, 12, batch=2), torch.tensor([1, 3])
    sliced = network.condition(mel, speaker).slice_frames(4, 7)
    own = network.condition(mel[..., 4 - margin : 7 + margin], speaker, padded=True)
    assert sliced.frames == own.frames == 3
    for name in PARTS:
        torch.testing.assert_close(getattr(sliced, name), getattr(own, name), rtol=1e-4, atol=1e-5)


def test_selected_utterances_join_to_the_batch_they_come_from() -> None:
    config = tiny_config(num_speakers=5)
    whole = tiny_network(config).condition(speech_like_mel(config.mel, 3, batch=4), torch.tensor([1, 3, 0, 2]))
    joined = Conditioning.join([whole.select(torch.tensor(rows)) for rows in ([0], [1, 2], [3])])
    for name in PARTS:
        assert torch.equal(getattr(joined, name), getattr(whole, name))
        assert torch.equal(getattr(whole.select(torch.tensor([2, 2])), name)[1], getattr(whole, name)[2])


@variants
def test_slices_one_after_the_other_make_the_whole(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network = tiny_network(config)
    conditioning = network.condition(speech_like_mel(config.mel, 7), speaker_of(config))
    parts = [conditioning.slice_frames(start, start + 3) for start in (0, 3, 6)]
    assert [part.frames for part in parts] == [3, 3, 1]
    whole = network.upsampling(conditioning.context)
    torch.testing.assert_close(torch.cat([network.upsampling(part.context) for part in parts], dim=1), whole)


@variants
def test_shapes_follow_the_frames(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network = tiny_network(config)
    for frames in (1, 3):
        conditioning = network.condition(speech_like_mel(config.mel, frames, batch=2), speaker_of(config, 2))
        parameters = network(random_waveform(frames, batch=2), conditioning)
        assert isinstance(conditioning, Conditioning)
        assert conditioning.frames == frames
        assert parameters.shape == (2, frames * HOP_LENGTH, network.distribution.num_parameters)
        assert parameters.dtype == torch.float32


@variants
def test_a_batch_is_its_utterances(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network = tiny_network(config)
    mel, waveform = speech_like_mel(config.mel, 4, batch=3), random_waveform(4, batch=3)
    together = network(waveform, network.condition(mel, speaker_of(config, 3)))
    alone = network(waveform[1:2], network.condition(mel[1:2], speaker_of(config)))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("distribution", "linear_prediction_order"),
    [
        ("mixture_of_logistics", 0),
        ("mixture_of_logistics", 16),
        ("gaussian", 0),
        ("gaussian", 16),
        ("mu_law_categorical", 0),
    ],
)
def test_a_network_begins_knowing_a_little_and_never_less_than_nothing(
    distribution: str, linear_prediction_order: int
) -> None:
    config = tiny_config(distribution, linear_prediction_order=linear_prediction_order, bits=8)
    network = WaveNet(config.network, config.mel)
    waveform = random_waveform(40)
    mel = LogMelSpectrogram(config.mel)(waveform)
    loss = -network.distribution.log_prob(network(waveform, network.condition(mel)), waveform).mean().item()
    uniform = math.log(256 if distribution == "mu_law_categorical" else 65_536)
    if distribution == "mu_law_categorical":
        assert loss == pytest.approx(uniform, abs=0.1)
    else:
        # White noise at 0.2 cannot cost less than its entropy, ln(0.2 sqrt(2 pi e) 32 768), nor should it cost
        # much more than not knowing at all: what the nested components are spread for.
        assert math.log(0.2 * math.sqrt(2 * math.pi * math.e) * 32_768) - 0.2 < loss < uniform


def test_a_better_known_residual_is_a_lower_loss_at_the_start() -> None:
    # A slow sine: the neighbour says nearly everything, and the predictor knows it from the mel.
    waveform = 0.5 * torch.sin(torch.arange(64 * HOP_LENGTH) * 2 * math.pi * 200 / 8000)[None]
    losses = []
    for order in (0, 16):
        config = tiny_config(linear_prediction_order=order)
        network = WaveNet(config.network, config.mel)
        conditioning = network.condition(LogMelSpectrogram(config.mel)(waveform))
        losses.append(-network.distribution.log_prob(network(waveform, conditioning), waveform).mean().item())
    assert losses[1] < losses[0] - 0.5  # nats; measured about 1


EXTREMES = {
    "silence": torch.zeros(16 * HOP_LENGTH),
    "plus one": torch.ones(16 * HOP_LENGTH),
    "minus one": -torch.ones(16 * HOP_LENGTH),
    "square wave": torch.where(torch.arange(16 * HOP_LENGTH) % 20 < 10, 1.0, -1.0),
    "a click in silence": torch.nn.functional.one_hot(torch.tensor(100), 16 * HOP_LENGTH).float(),
}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("waveform", EXTREMES.values(), ids=EXTREMES.keys())
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_extreme_waveforms_train_on_finite_numbers(distribution: str, waveform: Tensor, dtype: str) -> None:
    config = tiny_config(distribution)
    network = WaveNet(config.network, config.mel)
    mel = LogMelSpectrogram(config.mel)(waveform[None])
    with precision(dtype):
        parameters = network(waveform[None], network.condition(mel))
        loss = -network.distribution.log_prob(parameters, waveform[None]).mean()
    loss.backward()
    assert parameters.isfinite().all()
    assert loss.isfinite()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_waveform_that_the_mel_denies_trains_on_finite_numbers() -> None:
    # Silence by the mel, full scale by the waveform: residuals of a hundred thousand scales.
    config = tiny_config()
    network = WaveNet(config.network, config.mel)
    mel = torch.full((1, 8, 16), config.mel.log_floor)
    waveform = EXTREMES["square wave"][None]
    loss = -network.distribution.log_prob(network(waveform, network.condition(mel)), waveform).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@variants
def test_gradients_reach_every_weight(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network = tiny_network(config)
    waveform = random_waveform(6)
    parameters = network(waveform, network.condition(speech_like_mel(config.mel, 6), speaker_of(config)))
    network.distribution.log_prob(parameters, waveform).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@variants
def test_the_mel_is_heard_through_v(changes: dict[str, Any]) -> None:
    # Of two mels with the same linear prediction and echoes: only V can carry the difference.
    config = tiny_config(**changes)
    network, waveform = tiny_network(config), random_waveform(4)
    one = network.condition(speech_like_mel(config.mel, 4), speaker_of(config))
    other = replace(one, context=network.condition(speech_like_mel(config.mel, 4), speaker_of(config)).context)
    heard = network(waveform, one) - network(waveform, other)
    assert heard.abs().amax(dim=-1).min() > 1e-4  # at every sample
    for layer in network.layers:
        torch.nn.init.zeros_(layer.V)
    assert torch.equal(network(waveform, one), network(waveform, other))


def test_the_speaker_is_heard_through_u() -> None:
    config = tiny_config(num_speakers=3)
    network = tiny_network(config)
    mel, waveform = speech_like_mel(config.mel, 4).expand(2, -1, -1), random_waveform(4).expand(2, -1)
    parameters = network(waveform, network.condition(mel, torch.tensor([0, 2])))
    assert (parameters[0] - parameters[1]).abs().amax(dim=-1).min() > 1e-5
    same = network(waveform, network.condition(mel, torch.tensor([1, 1])))
    torch.testing.assert_close(same[0], same[1])


def test_a_mel_frame_is_heard_within_its_margin_alone() -> None:
    config = tiny_config(linear_prediction_order=0)
    network, margin = tiny_network(config), config.network.margin_frames
    mel, waveform = speech_like_mel(config.mel, 16), random_waveform(16)
    changed = mel.clone()
    changed[..., 8] += 1.0
    one, other = (network(waveform, network.condition(m)) for m in (mel, changed))
    heard = (one != other).any(dim=-1)[0].nonzero().flatten()
    assert heard.min() >= (8 - margin) * HOP_LENGTH
    assert heard.max() < (8 + margin + 1) * HOP_LENGTH + network.receptive_field


def test_padding_the_mel_is_repeating_its_ends() -> None:
    network, margin = tiny_network(), tiny_config().network.margin_frames
    mel = speech_like_mel(tiny_config().mel, 4)
    repeated = torch.cat([mel[..., :1].expand(-1, -1, margin), mel, mel[..., -1:].expand(-1, -1, margin)], dim=-1)
    assert torch.equal(network.condition(mel).context, network.condition(repeated, padded=True).context)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_bfloat16_stays_close(distribution: str) -> None:
    config = tiny_config(distribution)
    network, waveform = tiny_network(config), random_waveform(8)
    mel = LogMelSpectrogram(config.mel)(waveform)
    losses = []
    for dtype in ("fp32", "bf16"):
        with torch.no_grad(), precision(dtype):
            parameters = network(waveform, network.condition(mel))
            losses.append(-network.distribution.log_prob(parameters, waveform).mean().item())
    assert losses[0] == pytest.approx(losses[1], abs=0.05)  # nats per sample


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("speakers", [0, 3])
def test_the_number_of_weights_is_known_before_there_are_any(name: str, speakers: int) -> None:
    config = replace(NETWORKS[name], num_speakers=speakers)
    network = WaveNet(config, MelConfig())
    assert count_weights(config, MelConfig()) == sum(weight.numel() for weight in network.state_dict().values())


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_number_of_weights_is_known_for_every_law(distribution: str) -> None:
    config = tiny_config(distribution, num_speakers=2, kernel_size=3)
    assert count_weights(config.network, config.mel) == sum(
        w.numel() for w in tiny_network(config).state_dict().values()
    )
