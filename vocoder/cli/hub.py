"""`vocoder push`: a model on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from typing import Any

from vocoder.inference.vocoder import Vocoder


def add_push(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser("push", help="publish a model on the Hugging Face Hub, with a card")
    parser.set_defaults(run=_push)
    parser.add_argument("model", metavar="MODEL", help="folder, .ckpt, voice or hub id")
    parser.add_argument("repo_id", metavar="USER/NAME", help="where to; made if need be")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--revision", help="branch to push to, made if need be; main if left out")
    parser.add_argument("--message", help="of the commit")


def _push(options: argparse.Namespace) -> None:
    model = Vocoder.from_pretrained(options.model)
    keep = {"private": options.private, "revision": options.revision, "message": options.message}
    print(model.push_to_hub(options.repo_id, **keep))
