"""The process: sockets, signals, and an end that cuts nobody short."""

from __future__ import annotations

import asyncio
import socket
import time
import warnings

import uvicorn

from vocoder.inference.mel_checks import DialectWarning
from vocoder.inference.vocoder import Vocoder
from vocoder.service.admission import Limits
from vocoder.service.app import Service, make_app
from vocoder.service.streams import MESSAGE_BYTES


def run_service(model: Vocoder, name: str, host: str, port: int, limits: Limits) -> None:
    """Serve until a signal ends it.

    Args:
        model: The model that is served.
        name: The name of the model.
        host: The address to listen at.
        port: The port to listen at; 0 for one that is free.
        limits: The limits on what is accepted.
    """
    warnings.simplefilter("ignore", DialectWarning)  # the client is told, and nobody here could do anything
    make_server(Service(model, name, limits), host, port).run()


def make_server(service: Service, host: str, port: int) -> Server:
    """Build the server of a service; its `run` returns when it has ended."""
    config = uvicorn.Config(
        make_app(service),
        host=host,
        port=port,
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=None,  # pongs wait behind frames sent ahead; `Limits.idle` finds the dead
        ws_per_message_deflate=False,  # neither floats nor samples are compressible
        timeout_graceful_shutdown=1,  # after our own, for what is left
    )
    return Server(config, service)


class Server(uvicorn.Server):
    """A server that, told to end, takes nobody on and lets those who are in finish, for a time.

    uvicorn's own closes WebSockets at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for places to become free, then end; a second Ctrl+C ends at once."""
        places, deadline = self._service.places, time.monotonic() + self._service.limits.grace
        places.closing = True
        while places.taken and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
