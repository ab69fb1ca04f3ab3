"""`vocoder download` and `vocoder resample`: getting a corpus ready."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_download(commands: Any) -> None:
    """Add the commands to a parser's."""
    download = commands.add_parser("download", help="fetch the LJSpeech corpus (2.6 GB)")
    download.set_defaults(run=_download)
    download.add_argument("folder", type=Path, nargs="?", default=Path("data"), help="to unpack in; data if left out")

    resample = commands.add_parser("resample", help="convert a folder of audio to another sample rate")
    resample.set_defaults(run=_resample)
    resample.add_argument("source", type=Path, metavar="IN", help="folder of audio")
    resample.add_argument("target", type=Path, metavar="OUT", help="folder to make")
    resample.add_argument("--sample-rate", type=int, default=22_050, help="in Hz; %(default)s if left out")


def _download(options: argparse.Namespace) -> None:
    from vocoder.data.download import download_ljspeech

    print(download_ljspeech(options.folder))


def _resample(options: argparse.Namespace) -> None:
    from vocoder.data.download import resample_folder

    print(f"{resample_folder(options.source, options.target, options.sample_rate)} files in {options.target}")
