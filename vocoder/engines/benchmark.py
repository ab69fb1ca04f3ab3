"""How fast generation is, and how near to what the machine could do: `vocoder bench`.

All that is compared runs in turn, round after round, so that a machine whose speed drifts treats all alike; the
machine's own limits are measured in the same rounds. Only `Engine.generate` is timed: conditioning, noise and states
are there before.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vocoder.config import VocoderConfig
from vocoder.engines import ENGINES, Engine
from vocoder.engines.limits import (
    Limits,
    Work,
    count_multiply_adds,
    cpu_name,
    measure_limits,
    native_weight_bytes,
    reference_weight_bytes,
)
from vocoder.engines.native import NativeEngine, physical_cores
from vocoder.engines.noise import draw_noise
from vocoder.model.wavenet import Conditioning, WaveNet

PEER = "r9y9"

Row = dict[str, Any]


def default_threads() -> tuple[int, ...]:
    """1, 2, 4, … and all physical cores."""
    cores = physical_cores()
    return tuple(sorted({cores, *(2**k for k in range(cores.bit_length()))}))


@dataclass(frozen=True)
class Plan:
    """What to time: every combination of the lists, each engine with those of the precisions that it has.

    Attributes:
        engines: Names of engines, or `auto`.
        precisions: Names of precisions, or `auto`.
        streams: Utterances side by side.
        threads: To use at most.
        repeats: Runs of each combination, after those that warm up and find out how long a run has to be.
        seconds: That a run takes, roughly; but it has one frame at least.
        peer: Checkout of r9y9/wavenet_vocoder to run beside, at its own geometry; None for none.
    """

    engines: tuple[str, ...] = ("native",)
    precisions: tuple[str, ...] = ("auto",)
    streams: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1,)
    repeats: int = 5
    seconds: float = 1.0
    peer: str | None = None

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
class Contender:
    """One combination, ready to run.

    Attributes:
        network: Name.
        engine: Name.
        isa: Instruction set; None if that is torch's business.
        precision: Of the matrix products.
        streams: Utterances side by side.
        threads: To use at most.
        frame_samples: Samples that a frame of all streams has.
        sample_rate: In Hz.
        work: What it takes.
        run: Generates so many frames of each stream, and gives the seconds that took.
    """

    network: str
    engine: str
    isa: str | None
    precision: str
    streams: int
    threads: int
    frame_samples: int
    sample_rate: int
    work: Work
    run: Callable[[int], float]


# --- who runs ---------------------------------------------------------------------------------------------------------


def engine_contenders(name: str, config: VocoderConfig, network: WaveNet, plan: Plan) -> list[Contender]:
    """One for each combination; each engine with those of the precisions that it has.

    Raises:
        ValueError: An engine cannot run the network here, or has none of the precisions.
    """
    contenders = []
    for kind in dict.fromkeys(_find_engine(engine, network) for engine in plan.engines):
        for precision in _precisions_of(kind, plan.precisions):
            for threads in plan.threads:
                engine = kind(network, precision, threads)
                for streams in plan.streams:
                    contenders.append(_contend(name, config, engine, streams, threads))
    return contenders


def _find_engine(name: str, network: WaveNet) -> type[Engine]:
    if name == "auto":
        return next(kind for kind in ENGINES if kind.obstacle(network) is None)
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


def _contend(name: str, config: VocoderConfig, engine: Engine, streams: int, threads: int) -> Contender:
    network, state = engine.network, engine.initial_state(streams)
    isa = engine.instruction_set if isinstance(engine, NativeEngine) else None
    if isinstance(engine, NativeEngine):
        read = native_weight_bytes(network, engine.precision, [group.rows for group in state])
    else:
        read = reference_weight_bytes(network, len(state))

    def run(frames: int) -> float:
        nonlocal state
        conditioning = make_conditioning(config, network, streams, frames)
        noise = draw_noise(network.distribution, 0, range(streams), 0, frames * network.hop_length)
        with torch_threads(threads):
            begin = time.perf_counter()
            _, state = engine.generate(conditioning, noise, state, consume=True)
            return time.perf_counter() - begin

    work = Work(count_multiply_adds(network), read)
    samples, rate = streams * network.hop_length, network.sample_rate
    return Contender(name, engine.name, isa, engine.precision, streams, threads, samples, rate, work, run)


@torch.no_grad()
def make_conditioning(config: VocoderConfig, network: WaveNet, streams: int, frames: int) -> Conditioning:
    """Of random mels in the middle of the dialect's range, the same for every stream."""
    low, high = config.mel.value_range
    unit = torch.rand(1, config.mel.n_mels, frames, generator=torch.Generator().manual_seed(0))
    speaker = torch.zeros(1, dtype=torch.long) if config.network.num_speakers else None
    one = network.condition(low + (high - low) * (0.2 + 0.3 * unit), speaker)
    return one.select(torch.zeros(streams, dtype=torch.long))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build_peer(checkout: str) -> nn.Module:
    """r9y9's own WaveNet with the sizes of its `egs/mol/conf/mol_wavenet.json`, random weights.

    Args:
        checkout: Folder with a clone of github.com/r9y9/wavenet_vocoder; from here on Python imports from it too.

    Raises:
        ValueError: There is no such package in the folder.
    """
    sys.path.insert(0, checkout)
    try:
        package = importlib.import_module("wavenet_vocoder")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--peer must be a checkout of github.com/r9y9/wavenet_vocoder, but in {checkout} there is no "
            f"{error.name}. Clone it, and pass the folder."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its weight_norm is an older torch's
        model: nn.Module = package.WaveNet(
            out_channels=30,
            layers=24,
            stacks=4,
            residual_channels=128,
            gate_channels=256,
            skip_out_channels=128,
            kernel_size=3,
            dropout=0.0,
            cin_channels=80,
            cin_pad=2,
            upsample_conditional_features=True,
            upsample_net="ConvInUpsampleNetwork",
            upsample_params={"upsample_scales": [4, 4, 4, 4], "cin_channels": 80, "cin_pad": 2},
            scalar_input=True,
            output_distribution="Logistic",
        )
    return model


def peer_contenders(plan: Plan) -> list[Contender]:
    """r9y9's `incremental_forward` after its `make_generation_fast_`, in fp32: one for each streams and threads.

    It reads its conditioning's weights for every sample, as `Work` says; its upsampling is timed, but not counted.
    """
    if plan.peer is None:
        return []
    model: Any = build_peer(plan.peer).eval()
    model.make_generation_fast_()
    parts = (model.first_conv, model.conv_layers, model.last_conv_layers)
    weights = sum(weight.numel() for part in parts for weight in part.parameters() if weight.dim() > 1)
    return [
        Contender(f"{PEER} egs/mol", PEER, None, "fp32", streams, threads, streams * 256, 22_050,
                  Work(weights, 4.0 * weights), _peer_run(model, streams, threads))
        for threads in plan.threads
        for streams in plan.streams
    ]  # fmt: skip


def _peer_run(model: Any, streams: int, threads: int) -> Callable[[int], float]:
    @torch.no_grad()
    def run(frames: int) -> float:
        mel: Tensor = torch.randn(streams, 80, frames + 4)  # two frames more on each side
        with torch_threads(threads):
            begin = time.perf_counter()
            model.incremental_forward(c=mel, T=256 * frames, softmax=False, log_scale_min=-16.0)
            return time.perf_counter() - begin

    return run


# --- the rounds -------------------------------------------------------------------------------------------------------


def run_benchmark(name: str, config: VocoderConfig, network: WaveNet, plan: Plan) -> list[Row]:
    """Time every combination of a plan.

    Args:
        name: Of the network.
        config: Of the network.
        network: In eval mode.
        plan: What to time.

    Returns:
        One row of plain numbers and names for each combination; see `make_row`.

    Raises:
        ValueError: A combination cannot be run.
    """
    contenders = [*engine_contenders(name, config, network, plan), *peer_contenders(plan)]
    precisions = dict.fromkeys(contender.precision for contender in contenders)
    rates: list[list[float]] = [[] for _ in contenders]
    limits: dict[str, list[Limits | None]] = {precision: [] for precision in precisions}
    with tqdm(total=len(contenders) * (plan.repeats + 1), unit=" runs", disable=None, leave=False) as bar:
        frames = [calibrate(contender, plan.seconds, bar.update) for contender in contenders]
        for _ in range(plan.repeats):
            for precision in precisions:
                limits[precision].append(measure_limits(precision))
            for contender, count, own in zip(contenders, frames, rates, strict=True):
                own.append(count * contender.frame_samples / contender.run(count))
                bar.update()
    rows = []
    for contender, count, own in zip(contenders, frames, rates, strict=True):
        row = make_row(contender, own, limits[contender.precision])
        rows.append({**row, "samples_per_run": count * contender.frame_samples})
    return _compare(rows, contenders, rates) if plan.peer is not None else rows


def calibrate(contender: Contender, seconds: float, progress: Callable[[], object]) -> int:
    """Frames of a run that takes about so many seconds; runs at least once, and so warms up."""
    frames, target = 1, seconds / 10
    elapsed = contender.run(frames)
    if elapsed < target:  # the first run paid for much that a later one does not: measure again
        frames = max(1, round(frames * target / elapsed))
        elapsed = contender.run(frames)
    progress()
    return max(1, round(frames * seconds / elapsed))


def make_row(contender: Contender, rates: Sequence[float], limits: Sequence[Limits | None]) -> Row:
    """What was measured of a combination.

    Args:
        contender: The combination.
        rates: Samples per second of all streams together, of each run.
        limits: The machine's, measured in the same rounds.

    Returns:
        Names and numbers: of rates and limits the medians. Fractions are of the limits of one thread times `threads`;
        they and the limits are None without the native library.
    """
    work, rate = contender.work, statistics.median(rates)
    row: Row = {key: getattr(contender, key) for key in ("network", "engine", "isa", "precision", "streams", "threads")}
    row |= {
        "samples_per_second": round(rate),
        "samples_per_second_min": round(min(rates)),
        "samples_per_second_max": round(max(rates)),
        "times_real_time": round(rate / contender.sample_rate, 4),
        "multiply_adds_per_sample": round(work.multiply_adds),
        "weight_bytes_per_step": round(work.weight_bytes),
    }
    bandwidth = [one.bytes_per_second for one in limits if one is not None]
    peak = [one.multiply_adds_per_second for one in limits if one is not None]
    for fraction, limit, values, needed in (
        ("bandwidth_fraction", "l2_bytes_per_second", bandwidth, work.weight_bytes / contender.streams),
        ("peak_fraction", "peak_multiply_adds_per_second", peak, work.multiply_adds),
    ):
        most = statistics.median(values) if values else None
        row[fraction] = None if most is None else round(rate * needed / (most * contender.threads), 4)
        row[limit] = None if most is None else round(most)
    return {**row, "machine": cpu_name()}


def _compare(rows: Sequence[Row], contenders: Sequence[Contender], rates: Sequence[Sequence[float]]) -> list[Row]:
    """Add how many times as fast as the peer's at as many streams and threads each row is: median of the rounds."""
    peers = {(c.streams, c.threads): own for c, own in zip(contenders, rates, strict=True) if c.engine == PEER}
    compared = []
    for row, contender, own in zip(rows, contenders, rates, strict=True):
        pairs = zip(own, peers[contender.streams, contender.threads], strict=True)
        compared.append({**row, "times_peer": round(statistics.median(one / other for one, other in pairs), 2)})
    return compared


# --- what people read -------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Callable[[Row], str]] = {
    "network": lambda row: row["network"],
    "engine": lambda row: row["engine"],
    "isa": lambda row: row["isa"] or "none",
    "precision": lambda row: row["precision"],
    "streams": lambda row: str(row["streams"]),
    "threads": lambda row: str(row["threads"]),
    "samples/s": lambda row: f"{row['samples_per_second']:,}",
    "min": lambda row: f"{row['samples_per_second_min']:,}",
    "max": lambda row: f"{row['samples_per_second_max']:,}",
    "× real time": lambda row: f"{row['times_real_time']:.2f}",
    "multiply-adds": lambda row: f"{row['multiply_adds_per_sample']:,}",
    "weight bytes": lambda row: f"{row['weight_bytes_per_step']:,}",
    "of L2": lambda row: _percent(row["bandwidth_fraction"]),
    "of peak": lambda row: _percent(row["peak_fraction"]),
    f"× {PEER}": lambda row: f"{row['times_peer']:,.2f}" if "times_peer" in row else "",
}


def format_rows(rows: Sequence[Row]) -> str:
    """An aligned table; multiply-adds are of a sample, weight bytes of a step of all streams."""
    lines = [list(COLUMNS), *([cell(row) for cell in COLUMNS.values()] for row in rows)]
    columns = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    aligned_columns = [
        [cell.ljust(width) if index < 4 else cell.rjust(width) for cell in column]
        for index, (column, width) in enumerate(zip(columns, widths, strict=True))
    ]
    return "\n".join("  ".join(line).rstrip() for line in zip(*aligned_columns, strict=True))


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f} %"
