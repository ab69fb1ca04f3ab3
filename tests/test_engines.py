"""An engine is a function of weights, conditioning, noise and state, and computes what the network's forward does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import DISTRIBUTIONS, speech_like_mel, tiny_config, tiny_network
from vocoder.config import VocoderConfig
from vocoder.engines import ENGINES, able_engines, create_engine
from vocoder.engines.base import Engine
from vocoder.engines.graphs import GraphEngine
from vocoder.engines.noise import draw_noise
from vocoder.engines.reference import ROWS, ReferenceEngine
from vocoder.engines.step import Frame, Step
from vocoder.engines.triton_engine import TritonEngine
from vocoder.model.wavenet import Conditioning, WaveNet

FRAMES = 5  # 80 samples; the receptive field of the tiny network is 15 or 29 steps


STEPS: dict[str, dict[str, Any]] = {
    "1 a step": {},
    "1 a step, recent": {"recent_excitations": 5},
    "2 a step": {"samples_per_step": 2},
    "4 a step, recent": {"samples_per_step": 4, "recent_excitations": 3},
    "8 a step, recent": {"samples_per_step": 8, "recent_excitations": 8},
}


@pytest.fixture(params=STEPS.values(), ids=STEPS.keys())
def network(request: pytest.FixtureRequest) -> WaveNet:
    return tiny_network(tiny_config(**request.param))


# In Triton's interpreter each test would take a minute: that engine's laws are in `test_triton.py`.
KINDS = [kind for kind in ENGINES if kind is not TritonEngine]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def engine(request: pytest.FixtureRequest, network: WaveNet) -> Engine:
    obstacle = request.param.obstacle(network)
    if obstacle:
        pytest.skip(obstacle)
    return request.param(network)  # type: ignore[no-any-return]


def condition(network: WaveNet, config: VocoderConfig, batch: int = 1, frames: int = FRAMES) -> Conditioning:
    """Of each utterance by itself, side by side."""
    mels = speech_like_mel(config.mel, frames, batch)
    speakers = torch.arange(batch) % config.network.num_speakers if config.network.num_speakers else None
    with torch.no_grad():
        return network.condition(mels, speakers)


def noise_for(network: WaveNet, batch: int, frames: int = FRAMES, seed: int = 0, start: int = 0) -> Tensor:
    return draw_noise(network.distribution, seed, range(batch), start, frames * network.hop_length)


CONTINUOUS = [name for name in DISTRIBUTIONS if name != "mu_law_categorical"]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {"kernel_size": kernel_size}) for name in DISTRIBUTIONS for kernel_size in (2, 3)),
    *((name, {"linear_prediction_order": 0}) for name in CONTINUOUS),
    *((name, {"num_speakers": 3, "residual_scale": 0.5**0.5, "skip_scale": 1.0}) for name in DISTRIBUTIONS),
    ("gaussian", {"num_components": 1, "linear_prediction_order": 5, "upsampling_taps": 1, "context_frames": 0}),
    *(
        (name, {"samples_per_step": step, "recent_excitations": recent})
        for name in CONTINUOUS
        for step in (1, 2, 4, 8)
        for recent in (0, 3)
        if (step, recent) != (1, 0)
    ),
    ("gaussian", {"samples_per_step": 8, "recent_excitations": 40, "linear_prediction_order": 5}),
    ("gaussian", {"samples_per_step": 4, "recent_excitations": 8, "kernel_size": 3, "num_speakers": 3}),
    ("mixture_of_logistics", {"samples_per_step": 8, "kernel_size": 3, "num_speakers": 3, "sample_channels": 5}),
]


@pytest.mark.parametrize("kind", [ReferenceEngine, GraphEngine], ids=lambda kind: kind.name)
@pytest.mark.parametrize(("distribution", "changes"), VARIANTS)
def test_step_by_step_equals_the_teacher_forced_forward_pass(
    distribution: str, changes: dict[str, Any], kind: type[Engine]
) -> None:
    config = tiny_config(distribution, **changes)
    network = tiny_network(config)
    conditioning = condition(network, config, batch=2)
    engine = kind(network)
    waveform = engine.generate(conditioning, noise_for(network, 2), engine.initial_state(2))
    waveform = waveform.clone()  # leaves inference mode, as does every use below
    laws = engine.force(conditioning, waveform, engine.initial_state(2))
    with torch.no_grad():
        torch.testing.assert_close(laws.clone(), network(waveform, conditioning), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("distribution", "changes"),
    [*((name, {}) for name in DISTRIBUTIONS), *((name, STEPS["4 a step, recent"]) for name in CONTINUOUS)],
)
def test_generated_samples_are_the_draws_of_the_teacher_forced_laws(distribution: str, changes: dict[str, Any]) -> None:
    config = tiny_config(distribution, **changes)
    network = tiny_network(config)
    engine = ReferenceEngine(network)
    conditioning, noise = condition(network, config), noise_for(network, 1)
    waveform = engine.generate(conditioning, noise, engine.initial_state(1), temperature=0.7)
    laws = engine.force(conditioning, waveform, engine.initial_state(1))
    assert torch.equal(network.distribution.sample(laws, noise, 0.7), waveform)
    assert waveform.abs().max() <= 1
    assert waveform.std() > 1e-3


def condition_on_echoes(network: WaveNet, batch: int, frames: int) -> Conditioning:
    """Each frame another echo, from the nearest to the farthest that can be, and every third law narrow."""
    assert network.pitch_lag is not None
    conditioning = condition(network, tiny_config(), batch, frames)
    nearest, longest = network.samples_per_step, network.pitch_lag.longest
    lag = torch.randint(nearest, longest + 1, conditioning.lag.shape)
    lag[:, 0], lag[:, -1] = nearest, longest
    reach = torch.tensor([0.02, 1.0, torch.inf]).repeat(batch, frames)[:, :frames]
    return replace(conditioning, lag=lag, reach=reach)


def test_every_echo_is_the_teacher_forced_one_for_longer_than_the_longest_lag(network: WaveNet) -> None:
    frames = 10  # 160 samples; the longest lag has 32
    engine, conditioning = ReferenceEngine(network), condition_on_echoes(network, 2, frames)
    waveform = engine.generate(conditioning, noise_for(network, 2, frames), engine.initial_state(2))
    waveform = waveform.clone()
    laws = engine.force(conditioning, waveform, engine.initial_state(2))
    with torch.no_grad():
        torch.testing.assert_close(laws.clone(), network(waveform, conditioning), rtol=1e-4, atol=1e-4)


def test_the_echo_reaches_across_the_border_of_chunks(engine: Engine) -> None:
    network, frames = engine.network, 10
    conditioning, noise = condition_on_echoes(network, 2, frames), noise_for(network, 2, frames)
    whole = engine.generate(conditioning, noise, engine.initial_state(2))
    state, parts = engine.initial_state(2), []
    for frame in range(frames):  # of 16 samples: an echo may come from three chunks before
        part = slice(frame * network.hop_length, (frame + 1) * network.hop_length)
        waveform = engine.generate(conditioning.slice_frames(frame, frame + 1), noise[:, part], state)
        parts.append(waveform)
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_the_echo_of_the_past_is_part_of_the_state(network: WaveNet) -> None:
    engine, conditioning, noise = ReferenceEngine(network), condition_on_echoes(network, 1, 3), noise_for(network, 1, 3)
    state = engine.initial_state(1)
    engine.generate(conditioning, noise, state)
    forgetful = copy.deepcopy(state)
    ring = forgetful[0].excitation
    # All but those that the next step reads as they are.
    read = max(network.samples_per_step, network.config.recent_excitations)
    recent = {(int(forgetful[0].position) - age) % ring.shape[1] for age in range(1, read + 1)}
    ring[:, [slot for slot in range(ring.shape[1]) if slot not in recent]] = 0
    far = conditioning.slice_frames(2, 3)  # the farthest echo
    noise = noise[:, : network.hop_length]
    assert not torch.equal(engine.generate(far, noise, state), engine.generate(far, noise, forgetful))


@pytest.mark.parametrize("splits", [[1], [2, 3], [1, 2, 3, 4]])
def test_generation_in_chunks_is_bit_identical_to_the_whole(engine: Engine, splits: list[int]) -> None:
    network = engine.network
    conditioning, noise = condition(network, tiny_config(), batch=2), noise_for(network, 2)
    whole = engine.generate(conditioning, noise, engine.initial_state(2))
    state, parts = engine.initial_state(2), []
    for start, stop in zip([0, *splits], [*splits, FRAMES], strict=True):
        chunk = noise_for(network, 2, stop - start, start=start * network.hop_length)
        part = engine.generate(conditioning.slice_frames(start, stop), chunk, state)
        parts.append(part)
    assert torch.equal(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_an_utterance_in_a_batch_is_bit_identical_to_the_same_alone(distribution: str) -> None:
    config = tiny_config(distribution)
    network, batch = tiny_network(config), ROWS + 2
    for name in ("auto", "graphs", "torch"):
        check_batch_invariance(network, config, batch, name)


def test_the_laws_of_an_utterance_in_a_batch_are_bit_identical_too(network: WaveNet) -> None:
    engine, batch = ReferenceEngine(network), ROWS + 2
    conditioning, waveform = condition(network, tiny_config(), batch, frames=2), 0.1 * torch.randn(batch, 32)
    together = engine.force(conditioning, waveform, engine.initial_state(batch))
    for index in range(batch):
        one = conditioning.select(torch.tensor([index]))
        alone = engine.force(one, waveform[index : index + 1], engine.initial_state(1))
        assert torch.equal(alone[0], together[index]), f"utterance {index}"


def test_batching_changes_no_bit_at_the_default_width_either() -> None:
    widths = {"residual_channels": 64, "gate_channels": 128, "skip_channels": 128, "conditioning_channels": 64}
    one = tiny_config(**widths, sample_channels=128)
    for name in ("auto", "graphs", "torch"):
        check_batch_invariance(tiny_network(one), one, ROWS, name)
    eight = tiny_config(**widths, sample_channels=64, samples_per_step=8, recent_excitations=8)
    for name in ("graphs", "torch"):
        check_batch_invariance(tiny_network(eight), eight, ROWS, name)


def check_batch_invariance(network: WaveNet, config: VocoderConfig, batch: int, name: str) -> None:
    engine = create_engine(name, network)
    conditioning, noise = condition(network, config, batch, frames=3), noise_for(network, batch, frames=3)
    together = engine.generate(conditioning, noise, engine.initial_state(batch))
    for index in range(batch):
        alone = engine.generate(
            conditioning.select(torch.tensor([index])), noise[index : index + 1], engine.initial_state(1)
        )
        assert torch.equal(alone[0], together[index]), f"utterance {index}"


def test_the_same_noise_gives_the_same_waveform_and_other_noise_another(engine: Engine) -> None:
    conditioning = condition(engine.network, tiny_config())
    waveforms = [
        engine.generate(conditioning, noise_for(engine.network, 1, seed=seed), engine.initial_state(1))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(waveforms[0], waveforms[1])
    assert not torch.equal(waveforms[0], waveforms[2])


def test_of_copies_of_a_state_each_goes_on_by_itself(engine: Engine) -> None:
    conditioning, state = condition(engine.network, tiny_config()), engine.initial_state(1)
    engine.generate(conditioning, noise_for(engine.network, 1), state)
    one, other = copy.deepcopy(state), copy.deepcopy(state)
    first = engine.generate(conditioning, noise_for(engine.network, 1, seed=1), one)
    engine.generate(conditioning, noise_for(engine.network, 1, seed=2), other)
    assert torch.equal(first, engine.generate(conditioning, noise_for(engine.network, 1, seed=1), state))
    assert not torch.equal(first, engine.generate(conditioning, noise_for(engine.network, 1, seed=1), state))


def test_the_state_does_not_grow_with_time(network: WaveNet) -> None:
    engine = ReferenceEngine(network)
    state = engine.initial_state(1)
    before = [one.shape for one in vars(state[0]).values()]
    engine.generate(condition(engine.network, tiny_config()), noise_for(engine.network, 1), state)
    assert [one.shape for one in vars(state[0]).values()] == before


def test_autocast_around_it_does_not_change_the_waveform(network: WaveNet) -> None:
    engine, conditioning, noise = ReferenceEngine(network), condition(network, tiny_config()), noise_for(network, 1)
    plain = engine.generate(conditioning, noise, engine.initial_state(1))
    with torch.autocast("cpu", torch.bfloat16):
        inside = engine.generate(conditioning, noise, engine.initial_state(1))
    assert torch.equal(plain, inside)


def test_a_restarted_row_is_a_new_utterance_and_the_others_go_on(engine: Engine) -> None:
    network = engine.network
    conditioning, noise = condition(network, tiny_config(), batch=3), noise_for(network, 3)
    state = engine.initial_state(3)
    engine.generate(conditioning, noise, state)
    went_on = engine.generate(conditioning, noise, copy.deepcopy(state))
    engine.restart(state, 1)
    waveform = engine.generate(conditioning, noise, state)
    anew = engine.generate(conditioning, noise, engine.initial_state(3))
    assert torch.equal(waveform[1], anew[1])
    assert not torch.equal(anew[1], went_on[1])
    assert torch.equal(waveform[[0, 2]], went_on[[0, 2]])


@pytest.mark.parametrize(
    ("part", "cut"),
    [
        ("context", lambda part: part[:, :-1]),
        ("context", lambda part: part[..., :-1]),
        ("coefficients", lambda part: part[..., :-1]),
        ("scale", lambda part: part[0]),
        ("lag", lambda part: part[:, :-1]),
        ("reach", lambda part: part[:, :-1]),
        ("speaker", lambda part: torch.cat([part, torch.zeros(1, 1)], dim=1)),
    ],
)
def test_conditioning_of_another_shape_is_refused_by_name(
    engine: Engine, part: str, cut: Callable[[Tensor], Tensor]
) -> None:
    conditioning, noise = condition(engine.network, tiny_config()), noise_for(engine.network, 1)
    damaged = replace(conditioning, **{part: cut(getattr(conditioning, part))})
    with pytest.raises(ValueError, match=rf"`conditioning\.{part}` must be of shape .* for this network"):
        engine.generate(damaged, noise, engine.initial_state(1))
    with pytest.raises(ValueError, match=rf"`conditioning\.{part}` must be of shape .* for this network"):
        engine.force(damaged, noise[..., 0], engine.initial_state(1))


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (torch.zeros(1, 80, 1), r"`noise` must be of shape \(1, 80, 2\)"),
        (torch.zeros(1, 80), r"`noise` must be of shape \(1, 80, 2\)"),
        (torch.zeros(80, 2), "of as many utterances"),
        (torch.zeros(1, 96, 2), "80 samples|samples long instead of 80"),
        (torch.zeros(2, 80, 2), "of as many utterances"),
        (torch.zeros(()), "of as many utterances"),
    ],
)
def test_noise_of_another_shape_is_refused(engine: Engine, noise: Tensor, message: str) -> None:
    conditioning = condition(engine.network, tiny_config())
    with pytest.raises(ValueError, match=message):
        engine.generate(conditioning, noise, engine.initial_state(1))
    with pytest.raises(ValueError, match=r"of as many utterances|must be of shape"):
        engine.force(conditioning, torch.zeros(1, 80, 2), engine.initial_state(1))


def test_the_state_of_another_engine_or_network_is_refused(engine: Engine) -> None:
    network = engine.network
    conditioning, noise = condition(network, tiny_config()), noise_for(network, 1)
    others = [kind(network) for kind in ENGINES if not isinstance(engine, kind) and kind.obstacle(network) is None]
    others.append(type(engine)(tiny_network(tiny_config(residual_channels=9))))
    others.append(type(engine)(tiny_network(tiny_config(layers_per_cycle=4))))
    for state in (*(other.initial_state(1) for other in others), [None], None):
        with pytest.raises(ValueError, match=r"`state` must be of an engine for this network.*`initial_state`"):
            engine.generate(conditioning, noise, state)
        with pytest.raises(ValueError, match=r"`state` must be of an engine for this network"):
            engine.force(conditioning, noise[..., 0], state)
        with pytest.raises(ValueError, match=r"`state` must be of an engine for this network"):
            engine.restart(state, 0)
    with pytest.raises(ValueError, match=r"of as many utterances"):
        engine.generate(conditioning, noise, engine.initial_state(ROWS + 1))
    for row in (-1, 100):
        with pytest.raises(IndexError, match=r"`row` must be one of the state's utterances"):
            engine.restart(engine.initial_state(1), row)


def test_auto_takes_the_first_engine_that_can_run_the_network() -> None:
    network = tiny_network()
    assert type(create_engine("auto", network)) is able_engines(network)[0]
    assert ReferenceEngine in able_engines(network)
    assert isinstance(create_engine("torch", network), ReferenceEngine)


def test_an_unknown_engine_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValueError, match=r"`engine` must be one of auto, .*torch.*, but is 'warp'"):
        create_engine("warp", tiny_network())


def test_a_step_is_a_function_of_its_state_alone(network: WaveNet) -> None:
    """Two engines' worth of steps: one moves its state on in place, the other starts each step from a copy."""
    step, conditioning = Step(network), condition_on_echoes(network, 2, 4)
    h, waveform = network.upsample(conditioning).detach(), 0.1 * torch.randn(2, 4 * network.hop_length)
    groups = waveform.unflatten(1, (-1, network.samples_per_step))
    state, copied = step.initial_state(2), step.initial_state(2)
    per_frame = network.hop_length // network.samples_per_step
    with torch.no_grad():
        for n in range(groups.shape[1]):
            frame = conditioning.slice_frames(n // per_frame, n // per_frame + 1)
            given = (h[:, n], Frame.of(frame))
            copied = copied.clone()
            before = copied.clone()
            laws = [step(one, *given, lambda law, place, n=n: groups[:, n, place])[1] for one in (state, copied)]
            again = step(before, *given, lambda law, place, n=n: groups[:, n, place])[1]
            assert torch.equal(laws[0], laws[1])
            assert torch.equal(laws[1], again)
    assert state.position.tolist() == [4 * network.hop_length]
    assert all(torch.equal(one, other) for one, other in zip(vars(state).values(), vars(before).values(), strict=True))


def test_a_network_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Call network\.eval\(\)"):
        create_engine("torch", tiny_network().train())


@pytest.mark.parametrize("kind", ENGINES, ids=lambda kind: kind.name)
def test_an_unknown_precision_is_refused_with_the_names_of_the_known(kind: type[Engine]) -> None:
    network = tiny_network()
    if kind.obstacle(network) is None:
        with pytest.raises(ValueError, match=r"`precision` of the engine .* must be auto, .*fp32.*, but is 'fp8'"):
            kind(network, "fp8")
        with pytest.raises(ValueError, match=r"`threads` must be at least 1, but is 0"):
            kind(network, threads=0)


@pytest.mark.parametrize("step", [1, 4])
def test_a_network_in_double_precision_runs(step: int) -> None:
    config = tiny_config(samples_per_step=step)
    network = tiny_network(config).double()
    with torch.no_grad():
        conditioning = network.condition(speech_like_mel(config.mel, 2).double())
    engine = ReferenceEngine(network)
    waveform = engine.generate(conditioning, noise_for(network, 1, 2), engine.initial_state(1))
    assert waveform.isfinite().all()
