"""The time that an evaluation takes, by what it goes into."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Adds up seconds by what they were spent on.

    Attributes:
        seconds: The seconds so far, by name.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time within; one such block does not lie in another."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start


def describe_spent(spent: Mapping[str, float]) -> str:
    """Give the shares of the work on all utterances, the largest first; what took less than 1 % is in the rest.

    Args:
        spent: The seconds by what they went into; see `vocoder.evaluation.records.UtteranceRecord.spent`.
    """
    total = spent["total"]
    large = {name: seconds for name, seconds in spent.items() if name != "total" and seconds >= 0.01 * total}
    shares = {name.replace("_", " "): seconds for name, seconds in sorted(large.items(), key=lambda item: -item[1])}
    shares["the rest"] = total - sum(large.values())
    return f"{total:.0f} s: " + ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in shares.items())
