"""A frame that was recorded once makes every other frame, of any rows, at any temperature, wherever the rings are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import DISTRIBUTIONS, speech_like_mel, tiny_config, tiny_network
from vocoder.config import VocoderConfig
from vocoder.engines import able_engines, create_engine, graphs
from vocoder.engines.graphs import CPU_ROWS, CUDA_ROWS, GraphEngine, count_rows
from vocoder.engines.noise import draw_noise
from vocoder.engines.reference import ReferenceEngine
from vocoder.engines.step import Step
from vocoder.model.wavenet import Conditioning, WaveNet

FRAMES = 12  # 192 samples: the longest lag, 32, and the rings of all layers are run through several times
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in DISTRIBUTIONS),
    ("mu_law_categorical", {"num_speakers": 3, "kernel_size": 3}),
    ("gaussian", {"samples_per_step": 8, "recent_excitations": 8}),
    ("mixture_of_logistics", {"samples_per_step": 4, "recent_excitations": 3, "kernel_size": 3}),
]
needs_device = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Recorder(TorchDispatchMode):
    """What CUDA's capture does, on a CPU: notes each kernel and the memory it reads and writes, once for all.

    Numbers of Python's are frozen as they were, tensors are read anew. Whatever asks a tensor for a number, or makes a
    tensor of Python's numbers, is refused, as capture refuses it.
    """

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "lift_fresh", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[tuple[Any, tuple[Any, ...], dict[str, Any], Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.FORBIDDEN, f"{name} needs the host"
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):  # what gives several tensors gives views
            self.kernels.append((func, args, kwargs or {}, made))
        else:
            memory = args[0].untyped_storage().data_ptr()
            assert all(one.untyped_storage().data_ptr() == memory for one in made), f"{name} makes several tensors"
        return made

    def replay(self) -> None:
        """Do the same on the same memory."""
        for func, args, kwargs, made in self.kernels:
            again = func(*args, **kwargs)
            if again.data_ptr() != made.data_ptr():  # neither a view nor in place
                made.copy_(again)


def record(run: graphs.Run, device: torch.device) -> graphs.Run:
    """Stand in for `graphs.capture`."""
    with Recorder() as recorder:
        made = run()

    def replay() -> Tensor:
        recorder.replay()
        return made

    return replay


def inputs(network: WaveNet, config: VocoderConfig, rows: int) -> tuple[Conditioning, Tensor]:
    speakers = torch.arange(rows) % config.network.num_speakers if config.network.num_speakers else None
    with torch.no_grad():
        conditioning = network.condition(speech_like_mel(config.mel, FRAMES, rows), speakers)
    return conditioning, draw_noise(network.distribution, 0, range(rows), 0, FRAMES * network.hop_length)


def run(engine: GraphEngine, conditioning: Conditioning, noise: Tensor) -> list[Tensor]:
    """Several rows in two chunks, one row beside them, a restart, two temperatures, and the laws: all of one engine."""
    made, hop = [], engine.network.hop_length
    state = engine.initial_state(len(noise))
    alone = conditioning.select(torch.zeros(1, dtype=torch.long, device=noise.device))
    for start, stop, temperature in ((0, 5, 1.0), (5, FRAMES, 0.6)):
        chunk = conditioning.slice_frames(start, stop)
        waveform = engine.generate(chunk, noise[:, start * hop : stop * hop], state, temperature=temperature)
        made += [waveform, engine.generate(alone, noise[:1], engine.initial_state(1))]
        engine.restart(state, 0)
    made.append(engine.generate(conditioning, noise, state))
    made.append(engine.force(conditioning, made[-1], state))
    return [one.clone().cpu() for one in made]


@pytest.mark.parametrize(("distribution", "changes"), VARIANTS)
def test_what_was_recorded_once_makes_every_frame(
    monkeypatch: pytest.MonkeyPatch, distribution: str, changes: dict[str, Any]
) -> None:
    config = tiny_config(distribution, **changes)
    network = tiny_network(config)
    conditioning, noise = inputs(network, config, CPU_ROWS + 1)
    expected = run(GraphEngine(network), conditioning, noise)
    monkeypatch.setattr(graphs, "capture", record)
    recorded = run(GraphEngine(network), conditioning, noise)
    for one, other in zip(recorded, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_a_waveform_is_the_reference_engines(temperature: float) -> None:
    network = tiny_network()
    conditioning, noise = inputs(network, tiny_config(), 2)
    waveforms = [
        engine.generate(conditioning, noise, engine.initial_state(2), temperature=temperature)
        for engine in (GraphEngine(network), ReferenceEngine(network))
    ]
    torch.testing.assert_close(*waveforms, rtol=0, atol=1e-4)  # three levels of 16 bits


def test_a_network_that_remembers_much_has_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(tiny_network())
    assert count_rows(step) == CPU_ROWS
    slots, channels, *rings = step.initial_state(1).sizes
    row_bytes = 4 * (slots * channels + sum(rings))
    monkeypatch.setattr(graphs, "PAST_BYTES", 3 * row_bytes)
    assert count_rows(step) == 2
    monkeypatch.setattr(graphs, "PAST_BYTES", row_bytes - 1)
    assert count_rows(step) == 1


def test_a_state_holds_only_the_rows_that_there_are() -> None:
    engine = GraphEngine(tiny_network())
    assert [group.rows for group in engine.initial_state(CPU_ROWS + 1)] == [CPU_ROWS, 1]


def test_graphs_run_where_they_are_named_and_auto_prefers_the_others() -> None:
    network = tiny_network()
    assert able_engines(network).index(GraphEngine) > able_engines(network).index(ReferenceEngine)
    assert isinstance(create_engine("graphs", network), GraphEngine)


@pytest.mark.gpu
@needs_device
@pytest.mark.parametrize(("distribution", "changes"), VARIANTS)
def test_captured_frames_are_bit_identical_to_eager_ones(
    monkeypatch: pytest.MonkeyPatch, distribution: str, changes: dict[str, Any]
) -> None:
    config = tiny_config(distribution, **changes)
    network = tiny_network(config)
    conditioning, noise = inputs(network, config, 3)
    network, conditioning, noise = network.cuda(), on_device(conditioning), noise.cuda()
    captured = run(GraphEngine(network), conditioning, noise)
    monkeypatch.setattr(graphs, "capture", lambda run, device: run)
    for one, other in zip(captured, run(GraphEngine(network), conditioning, noise), strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
@needs_device
@pytest.mark.parametrize(("distribution", "changes"), VARIANTS)
def test_captured_laws_are_the_teacher_forced_ones(distribution: str, changes: dict[str, Any]) -> None:
    config = tiny_config(distribution, **changes)
    network = tiny_network(config)
    conditioning, noise = inputs(network, config, 2)
    network, conditioning, noise = network.cuda(), on_device(conditioning), noise.cuda()
    engine = create_engine("graphs", network)
    waveform = engine.generate(conditioning, noise, engine.initial_state(2)).clone()
    laws = engine.force(conditioning, waveform, engine.initial_state(2)).clone()
    with torch.no_grad():
        torch.testing.assert_close(laws, network(waveform, conditioning), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@needs_device
def test_a_row_among_a_thousand_is_bit_identical_to_the_same_alone() -> None:
    config, rows = tiny_config(samples_per_step=8, recent_excitations=8), CUDA_ROWS + 1
    network = tiny_network(config)
    conditioning, noise = inputs(network, config, rows)
    network, conditioning, noise = network.cuda(), on_device(conditioning), noise.cuda()
    engine = GraphEngine(network)
    together = engine.generate(conditioning, noise, engine.initial_state(rows))
    for row in (0, 511, CUDA_ROWS):
        one = conditioning.select(torch.tensor([row], device="cuda"))
        alone = engine.generate(one, noise[row : row + 1], engine.initial_state(1))
        assert torch.equal(alone[0], together[row])


def on_device(conditioning: Conditioning) -> Conditioning:
    return Conditioning(*(part.cuda() for part in vars(conditioning).values()))
