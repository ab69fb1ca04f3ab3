"""`vocoder serve`: synthesis over HTTP and WebSockets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vocoder.bundles.names import DEFAULT_MODEL
from vocoder.cli.extras import needing
from vocoder.inference.vocoder import Vocoder


def add_serve(commands: Any) -> None:
    """Add the command to a parser's."""
    serve = commands.add_parser("serve", help="serve a model over HTTP and WebSockets")
    serve.set_defaults(run=_serve)
    serve.add_argument("--model", default=DEFAULT_MODEL, help="folder, .ckpt, voice or hub id; %(default)s if left out")
    serve.add_argument("--device", help="to infer on, cuda say; the CPU if left out")
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for everybody; %(default)s if left out")
    serve.add_argument("--port", type=int, default=8000, help="0 for one that is free; %(default)s if left out")
    serve.add_argument("--streams", type=int, default=0, help="requests and streams at once; by the cores if left out")
    seconds = "the longest sound of a request; %(default)g if left out, and streams have no end"
    serve.add_argument("--seconds", type=float, default=120.0, help=seconds)
    serve.add_argument(
        "--idle", type=float, default=30.0, help="seconds that a client may stall; %(default)g if left out"
    )
    grace = "seconds that who is served may go on after a signal to end; %(default)g if left out"
    serve.add_argument("--grace", type=float, default=20.0, help=grace)


def _serve(options: argparse.Namespace) -> None:
    with needing("serve", "`vocoder serve`"):
        from vocoder.service.admission import Limits
        from vocoder.service.server import run_service
    limits = Limits(streams=options.streams, seconds=options.seconds, idle=options.idle, grace=options.grace)
    path = Path(options.model)
    name = path.resolve().name if path.exists() else options.model  # where it lies is nobody else's business
    model = Vocoder.from_pretrained(options.model, device=options.device, threads=1)  # each serves others too
    run_service(model, name, options.host, options.port, limits)
