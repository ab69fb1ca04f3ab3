"""`vocoder bench` and `bench-live`: how fast this machine generates, and how many streams it serves."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

import torch

from vocoder.bench.cases import BenchPlan, default_threads
from vocoder.bench.generation import format_rows, run_benchmark
from vocoder.bench.live import format_live, run_live
from vocoder.bench.peers import PEERS
from vocoder.cli.info import describe_instruction_sets
from vocoder.config import NETWORKS, VocoderConfig
from vocoder.inference.checks import check_device
from vocoder.inference.vocoder import Vocoder
from vocoder.machine import cpu_name, physical_cores
from vocoder.model.wavenet import WaveNet


def add_bench(commands: Any) -> None:
    """Add the command to a parser's."""
    bench = commands.add_parser("bench", help="measure how fast this machine generates")
    bench.set_defaults(run=_bench)
    _add_network(bench)
    several = "; several separated by commas"
    bench.add_argument("--device", default="cpu", help="that the network is on, cuda say; %(default)s if left out")
    bench.add_argument("--engine", help=f"native if left out, or auto on another device{several}")
    bench.add_argument("--precision", default="auto", help=f"each engine runs those that it has{several}")
    bench.add_argument("--streams", default="1", help=f"utterances side by side{several}")
    threads = ",".join(map(str, default_threads()))
    bench.add_argument("--threads", default=threads, help=f"%(default)s if left out{several}")
    bench.add_argument("--repeats", type=int, default=5, help="runs of each combination, all in turn")
    bench.add_argument("--seconds", type=float, default=1.0, help="that a run takes, roughly")
    peers = f"of {', '.join(PEERS)}, to run beside from a clone; can be given several times"
    bench.add_argument("--peer", metavar="NAME[=CHECKOUT]", action="append", default=[], help=peers)
    bench.add_argument("--json", action="store_true", help="a list of objects on stdout, and nothing else")


def add_bench_live(commands: Any) -> None:
    """Add the command to a parser's."""
    live = commands.add_parser("bench-live", help="measure how many streams this machine serves at once")
    live.set_defaults(run=_bench_live)
    _add_network(live)
    live.add_argument("--precision", default="auto", help="of the engine's products")
    live.add_argument("--streams", default="1,2,4,8", help="at once; %(default)s if left out")
    live.add_argument("--threads", type=int, default=1, help="of each stream; %(default)s if left out")
    live.add_argument("--chunk-frames", type=int, default=10, help="that come at a time; %(default)s if left out")
    live.add_argument("--seconds", type=float, default=20.0, help="of sound, for each stream; %(default)s if left out")
    live.add_argument("--json", action="store_true", help="a list of objects on stdout, and nothing else")


def _add_network(command: argparse.ArgumentParser) -> None:
    network = command.add_mutually_exclusive_group()
    network.add_argument("--network", default="wavenet-64", help=f"of {', '.join(NETWORKS)}, with random weights")
    network.add_argument("--model", help="instead: folder, .ckpt, voice or hub id")


def _bench_live(options: argparse.Namespace) -> None:
    counts = _numbers("streams", options.streams)
    if min(counts) < 1 or options.chunk_frames < 1 or options.seconds <= 0:
        raise ValueError("--streams, --chunk-frames and --seconds must be positive. Leave them out when in doubt.")
    name, config, network = _network(options)
    model = Vocoder(config, network, precision=options.precision, threads=options.threads)
    rows = run_live(model, counts, options.chunk_frames, options.seconds)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(
        f"{cpu_name()}, {physical_cores()} cores, {describe_instruction_sets()}: {name}, {options.precision}, chunks of"
    )
    print(f"{rows[0]['chunk_ms']:.0f} ms; look-ahead of the network, in addition: {1000 * model.latency:.0f} ms")
    print(f"first 20 ms of sound, from opening a stream, its frames waiting: {rows[0]['first_sound_ms']:.1f} ms")
    print(format_live(rows))


def _bench(options: argparse.Namespace) -> None:
    device = check_device(options.device)
    options.engine = options.engine or ("native" if device.type == "cpu" else "auto")
    plan = BenchPlan(
        engines=_names(options.engine),
        precisions=_names(options.precision),
        streams=_numbers("streams", options.streams),
        threads=_numbers("threads", options.threads),
        repeats=options.repeats,
        seconds=options.seconds,
        peers=dict(_peer(text) for text in options.peer),
    )
    name, config, network = _network(options)
    rows = run_benchmark(name, config, network.to(device), plan)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    keep = (
        "model" if options.model else "network",
        "device",
        "engine",
        "precision",
        "streams",
        "threads",
        "repeats",
        "seconds",
    )
    given = [(key, getattr(options, key)) for key in keep] + [("peer", peer) for peer in options.peer]
    command = shlex.join(["vocoder", "bench", *(text for key, value in given for text in (f"--{key}", str(value)))])
    machine = f"{cpu_name()}, {physical_cores()} cores, {describe_instruction_sets()}"
    print(f"{machine if device.type == 'cpu' else rows[0]['machine']}: {command}")
    print(format_rows(rows))


def _network(options: argparse.Namespace) -> tuple[str, VocoderConfig, WaveNet]:
    if options.model:
        model = Vocoder.from_pretrained(options.model)
        return options.model, model.config, model.network
    if options.network not in NETWORKS:
        choices = ", ".join(NETWORKS)
        raise ValueError(f"--network must be one of {choices}, but is {options.network!r}. For a model pass --model.")
    config = VocoderConfig(network=NETWORKS[options.network])
    torch.manual_seed(0)
    return options.network, config, WaveNet(config.network, config.mel).eval()


def _peer(text: str) -> tuple[str, str]:
    name, _, checkout = text.partition("=")
    return name, checkout


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(name) for name in _names(text)))
    except ValueError:
        raise ValueError(
            f"--{option} must be whole numbers with commas between them, but is {text!r}. Example: --{option} 1,2."
        ) from None
