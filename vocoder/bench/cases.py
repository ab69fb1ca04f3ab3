"""The cases that `vocoder bench` times: our engines, each in its precisions, by numbers of streams and threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from vocoder.bench.limits import Work, count_multiply_adds, native_weight_bytes, reference_weight_bytes
from vocoder.config import VocoderConfig
from vocoder.engines import ENGINES, Engine, able_engines
from vocoder.engines.cpu.native import NativeEngine
from vocoder.engines.noise import draw_noise
from vocoder.machine import physical_cores
from vocoder.model.wavenet import Conditioning, WaveNet


def default_threads() -> tuple[int, ...]:
    """1, 2, 4, … and all physical cores."""
    cores = physical_cores()
    return tuple(sorted({cores, *(2**k for k in range(cores.bit_length()))}))


@dataclass(frozen=True)
class BenchPlan:
    """A plan of a benchmark: every combination of the lists, each engine with those of the precisions that it has.

    Attributes:
        engines: The names of engines, or `auto`.
        precisions: The names of precisions, or `auto`.
        streams: The numbers of utterances side by side.
        threads: The largest numbers of threads.
        repeats: The number of runs of each combination, after those that warm up and find out how long a run must be.
        seconds: The rough duration of a run, in seconds; but it has one frame at least.
        peers: The checkouts of other people's vocoders to run beside, by name; see `peers.PEERS`.
    """

    engines: tuple[str, ...] = ("native",)
    precisions: tuple[str, ...] = ("auto",)
    streams: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1,)
    repeats: int = 5
    seconds: float = 1.0
    peers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        engines, precisions = [kind.name for kind in ENGINES], [name for kind in ENGINES for name in kind.precisions]
        for option, names, known in (("engine", self.engines, engines), ("precision", self.precisions, precisions)):
            for name in names:
                if name not in ("auto", *known):
                    choices = ", ".join(["auto", *dict.fromkeys(known)])
                    raise ValueError(f"--{option} must be of {choices}, but is {name!r}. Take auto when in doubt.")
        for option, number in (
            ("streams", min(self.streams)),
            ("threads", min(self.threads)),
            ("repeats", self.repeats),
        ):
            if number < 1:
                raise ValueError(f"--{option} must be at least 1, but is {number}. Pass a larger number.")
        if not self.seconds > 0:
            raise ValueError(f"--seconds must be positive, but is {self.seconds:g}. Pass a larger number, such as 1.")


@dataclass(frozen=True)
class BenchCase:
    """One combination of network, engine, precision, streams and threads, ready to run.

    Attributes:
        network: The name of the network.
        engine: The name of the engine.
        isa: The instruction set; None if torch chooses it.
        precision: The precision of the matrix products.
        streams: The number of utterances side by side.
        threads: The largest number of threads to use.
        frame_samples: The number of samples that a frame of all streams has.
        sample_rate: The sample rate in Hz.
        work: The work that it takes; None where products of a whole utterance are made at once.
        run: The function that generates a number of frames of each stream, and gives the seconds that this took.
        machine: The name of the device that it runs on, if not the processor.
    """

    network: str
    engine: str
    isa: str | None
    precision: str
    streams: int
    threads: int
    frame_samples: int
    sample_rate: int
    work: Work | None
    run: Callable[[int], float]
    machine: str | None = None


def engine_cases(name: str, config: VocoderConfig, network: WaveNet, plan: BenchPlan) -> list[BenchCase]:
    """Make a case for each combination; each engine with those of the precisions that it has.

    Raises:
        ValueError: An engine cannot run the network here, or has none of the precisions.
    """
    cases = []
    for kind in dict.fromkeys(_find_engine(engine, network) for engine in plan.engines):
        for precision in _precisions_of(kind, plan.precisions):
            for threads in plan.threads:
                engine = kind(network, precision, threads)
                for streams in plan.streams:
                    cases.append(_make_case(name, config, engine, streams, threads))
    return cases


def _find_engine(name: str, network: WaveNet) -> type[Engine]:
    if name == "auto":
        return able_engines(network)[0]
    return next(kind for kind in ENGINES if kind.name == name)


def _precisions_of(kind: type[Engine], wanted: Sequence[str]) -> list[str]:
    named = [kind.precisions[0] if name == "auto" else name for name in wanted]
    able = [name for name in dict.fromkeys(named) if name in kind.precisions]
    if not able:
        raise ValueError(
            f"--precision of the engine {kind.name!r} must be of auto, {', '.join(kind.precisions)}, but is "
            f"{', '.join(wanted)}. Add auto, or leave the engine out."
        )
    return able


def _make_case(name: str, config: VocoderConfig, engine: Engine, streams: int, threads: int) -> BenchCase:
    network, state = engine.network, engine.initial_state(streams)
    device = next(network.parameters()).device
    isa = engine.instruction_set if isinstance(engine, NativeEngine) else None
    if isinstance(engine, NativeEngine):
        read = native_weight_bytes(network, engine.precision, [group.rows for group in state])
    else:
        read = reference_weight_bytes(network, len(state))

    def run(frames: int) -> float:
        nonlocal state
        conditioning = make_conditioning(config, network, streams, frames)
        noise = draw_noise(network.distribution, 0, range(streams), 0, frames * network.hop_length).to(device)
        with torch_threads(threads):
            wait_for(device)
            begin = time.perf_counter()
            engine.generate(conditioning, noise, state)
            wait_for(device)
            return time.perf_counter() - begin

    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    work = None if machine else Work(count_multiply_adds(network), read)  # the limits that are measured are the CPU's
    samples, rate = streams * network.hop_length, network.sample_rate
    return BenchCase(name, engine.name, isa, engine.precision, streams, threads, samples, rate, work, run, machine)


def wait_for(device: torch.device) -> None:
    """Return when a CUDA device has done what it was told to do; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def make_conditioning(config: VocoderConfig, network: WaveNet, streams: int, frames: int) -> Conditioning:
    """Make conditioning from random mels in the middle of the dialect's range, the same for every stream."""
    low, high = config.mel.value_range
    unit = torch.rand(1, config.mel.n_mels, frames, generator=torch.Generator().manual_seed(0))
    device = next(network.parameters()).device
    speaker = torch.zeros(1, dtype=torch.long, device=device) if config.network.num_speakers else None
    one = network.condition(low + (high - low) * (0.2 + 0.3 * unit).to(device), speaker)
    return one.select(torch.zeros(streams, dtype=torch.long, device=device))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use a number of threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
