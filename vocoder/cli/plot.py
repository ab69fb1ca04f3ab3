"""`vocoder plot`: pictures of mels, recordings, training runs and networks, as files for papers and pages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vocoder.bundles.names import DEFAULT_MODEL
from vocoder.cli.extras import needing
from vocoder.cli.inputs import STATS, is_mel, read_mel, read_stats
from vocoder.config import NETWORKS, MelConfig, VocoderConfig
from vocoder.features.audio import load_audio
from vocoder.features.conversion import resolve_dialect
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.vocoder import Vocoder
from vocoder.model.wavenet import WaveNet

MODEL = "folder, .ckpt, voice or hub id"


def add_plot(commands: Any) -> None:
    """Add the command to a parser's."""
    plot = commands.add_parser("plot", help="draw a mel, a copy beside its original, a training run, a network")
    kinds = plot.add_subparsers(required=True, metavar="KIND")
    _add_mel(kinds)
    _add_pair(kinds)
    _add_curve(kinds)
    _add_network(kinds)
    _add_kernel(kinds)
    _add_law(kinds)
    for kind in kinds.choices.values():
        kind.set_defaults(run=_plot)
        kind.add_argument(
            "--output", type=Path, required=True, help="the picture, .svg, .png or .pdf; replaced if there"
        )


def _plot(options: argparse.Namespace) -> None:
    with needing("eval", "Plotting"):
        from vocoder.plots.style import check_output, save_figure

        check_output(options.output)
        figure = options.draw(options)
    save_figure(figure, options.output)


def _add_dialect(kind: argparse.ArgumentParser) -> None:
    which = kind.add_mutually_exclusive_group()
    which.add_argument("--model", default=DEFAULT_MODEL, help=f"whose mels: {MODEL}; %(default)s if left out")
    which.add_argument("--dialect", help="what mels mean, if not the model's own; `vocoder dialects` lists them")


def _dialect(options: argparse.Namespace) -> MelConfig:
    return resolve_dialect(options.dialect or Vocoder.from_pretrained(options.model).mel)


def _add_mel(kinds: Any) -> None:
    mel = kinds.add_parser("mel", help="a mel in dB, over seconds and Hz, and the waveform if there is one")
    mel.set_defaults(draw=_draw_mel)
    mel.add_argument("input", type=Path, metavar="INPUT", help="mel (.npy, .npz or .pt), or an audio file")
    mel.add_argument("--stats", type=read_stats, metavar="FILE|MEAN,SCALE", help=STATS)
    _add_dialect(mel)


def _draw_mel(options: argparse.Namespace) -> Any:
    from vocoder.plots import draw_mel

    dialect = resolve_dialect(_dialect(options), options.stats)
    if not is_mel(options.input):
        waveform = load_audio(options.input, dialect.sample_rate)
        return draw_mel(LogMelSpectrogram(dialect)(waveform[None])[0], dialect, waveform)
    try:
        return draw_mel(read_mel(options.input, dialect), dialect)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{options.input}: {error}") from error


def _add_pair(kinds: Any) -> None:
    pair = kinds.add_parser("pair", help="a recording and its copy: waveforms, mels, F0, and what differs")
    pair.set_defaults(draw=_draw_pair)
    pair.add_argument("original", type=Path, metavar="ORIGINAL", help="the recording")
    pair.add_argument("copy", type=Path, metavar="COPY", help="as long, but for less than a second; the longer is cut")
    _add_dialect(pair)


def _draw_pair(options: argparse.Namespace) -> Any:
    from vocoder.plots import draw_pair

    dialect = _dialect(options)
    original, copy = (load_audio(path, dialect.sample_rate) for path in (options.original, options.copy))
    return draw_pair(original, copy, dialect)


def _add_curve(kinds: Any) -> None:
    curve = kinds.add_parser("curve", help="likelihood, learning rate and speed of training runs")
    curve.set_defaults(draw=_draw_curves)
    curve.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a run's folder; or its metrics.csv, or TensorBoard's events.out.tfevents.*",
    )


def _draw_curves(options: argparse.Namespace) -> Any:
    from vocoder.plots import draw_curves

    return draw_curves(options.runs)


def _add_network(kinds: Any) -> None:
    network = kinds.add_parser("network", help="what a network looks back to, and what its parts cost")
    network.set_defaults(draw=_draw_network)
    network.add_argument("model", metavar="MODEL", help=f"{', '.join(NETWORKS)}; or {MODEL}")


def _draw_network(options: argparse.Namespace) -> Any:
    from vocoder.plots import draw_network

    if options.model not in NETWORKS:
        return draw_network(Vocoder.from_pretrained(options.model))
    config = VocoderConfig(network=NETWORKS[options.model])
    return draw_network(Vocoder(config, WaveNet(config.network, config.mel)))


def _add_kernel(kinds: Any) -> None:
    kernel = kinds.add_parser("kernel", help="how a network has learned to interpolate between frames")
    kernel.set_defaults(draw=_draw_kernel)
    kernel.add_argument("model", metavar="MODEL", help=MODEL)


def _draw_kernel(options: argparse.Namespace) -> Any:
    from vocoder.plots import draw_kernel

    return draw_kernel(Vocoder.from_pretrained(options.model))


def _add_law(kinds: Any) -> None:
    law = kinds.add_parser("law", help="what a network expects of each sample, and what came")
    law.set_defaults(draw=_draw_law)
    law.add_argument("model", metavar="MODEL", help=MODEL)
    law.add_argument("speech", type=Path, metavar="SPEECH", help="an audio file")
    law.add_argument("--start", type=float, help="of what is shown, in seconds; the loudest passage if left out")
    law.add_argument("--seconds", type=float, default=0.02, help="that are shown; default: %(default)s")
    law.add_argument("--speaker", help="name or index of the voice, for models of several")


def _draw_law(options: argparse.Namespace) -> Any:
    from vocoder.plots import draw_law

    model = Vocoder.from_pretrained(options.model)
    waveform = load_audio(options.speech, model.sample_rate)
    return draw_law(model, waveform, start=options.start, seconds=options.seconds, speaker=options.speaker)
