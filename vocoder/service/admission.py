"""Limits on what a service takes on, and the refusals beyond them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vocoder.machine import physical_cores

# Enough that no core waits for a client, and few enough that each keeps up with real time on cores that have other work
# too; `python -m vocoder.bench.service` measures how many do.
STREAMS_PER_CORE = 2
RETRY_SECONDS = 1


@dataclass(frozen=True)
class Limits:
    """The limits on what a service takes on.

    Attributes:
        streams: The number of requests and streams at once; 0 for what suits the cores.
        seconds: The longest sound that one request may ask for or bring; streams have no end.
        body_bytes: The largest body of a request, and the largest message on a stream.
        idle: The seconds that a client may take to send the next message or a whole body, or to receive what waits for
            it.
        grace: The seconds that whoever has been let in may go on after the service was told to end.
    """

    streams: int = 0
    seconds: float = 120.0
    body_bytes: int = 2**25
    idle: float = 30.0
    grace: float = 20.0

    def __post_init__(self) -> None:
        """Check all.

        Raises:
            ValueError: A number is negative, or 0 where that would let nobody in.
        """
        for name in ("seconds", "body_bytes", "idle"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be positive, but is {getattr(self, name)}. Leave it out when in doubt."
                )
        for name in ("streams", "grace"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative, but is {getattr(self, name)}. Leave it out.")


class RefusedError(Exception):
    """The refusal that a client is told instead of what it asked for.

    Args:
        status: The status of the response, 4xx or 5xx.
        sentence: The sentence: the rule, what came, the remedy.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence

    @property
    def headers(self) -> dict[str, str]:
        """Say when to come back, if that helps."""
        return {"Retry-After": str(RETRY_SECONDS)} if self.status == 503 else {}


@contextmanager
def refusing(status: int = 422) -> Iterator[None]:
    """Turn a broken rule of `Vocoder.infer` into a refusal in the same words."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise RefusedError(status, str(error)) from error


class Places:
    """So many at once, and none any more when the service ends. All calls come from one event loop.

    Args:
        total: The number of places; 0 for what suits the cores.

    Attributes:
        total: The number of places.
        taken: The number of places that are taken.
        closing: Whether no more clients are let in.
    """

    def __init__(self, total: int = 0) -> None:
        self.total = total or STREAMS_PER_CORE * physical_cores()
        self.taken, self.closing = 0, False

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            RefusedError: None is free, or the service is about to end: 503.
        """
        if self.closing:
            raise RefusedError(503, "The service is about to end and takes nobody on. Try another one, or later.")
        if self.taken >= self.total:
            raise RefusedError(503, f"All {self.total} places are taken. Try another service, or this one in a moment.")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
