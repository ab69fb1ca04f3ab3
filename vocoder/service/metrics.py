"""The counters of a service, in the text that Prometheus reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from threading import Lock

HELP = {
    "vocoder_requests_total": ("counter", "Responses, by path and status."),
    "vocoder_streams_total": ("counter", "Streams that have ended, by the code of their close; 1000 is a whole one."),
    "vocoder_samples_total": ("counter", "Samples made."),
    "vocoder_busy_seconds_total": ("counter", "Seconds that threads spent making them."),
    "vocoder_places": ("gauge", "Requests and streams that are served at once."),
    "vocoder_places_taken": ("gauge", "Those that are being served."),
    "vocoder_sample_rate_hertz": ("gauge", "Samples of a second of sound."),
}


class Metrics:
    """Counts, from any thread."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._lock = Lock()

    def add(self, name: str, amount: float = 1, **labels: object) -> None:
        """Count so much more under a name of `HELP`."""
        with self._lock:
            self._counts[name][",".join(f'{key}="{value}"' for key, value in labels.items())] += amount

    def text(self, gauges: Mapping[str, float]) -> str:
        """All that was counted, and what is so just now."""
        with self._lock:
            rows = {name: dict(counts) for name, counts in self._counts.items()}
        rows |= {name: {"": value} for name, value in gauges.items()}
        lines = []
        for name, (kind, about) in HELP.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            lines += [
                f"{name}{{{labels}}} {n:.15g}" if labels else f"{name} {n:.15g}"
                for labels, n in rows.get(name, {}).items()
            ]
        return "\n".join([*lines, ""])
