"""The data benchmark tells a step that waits for its batch from one whose batch is there."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("lightning")
from runs import make_corpus
from vocoder.bench import data as benchmark
from vocoder.data.segments import RandomSegments

pytestmark = [
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*no optimizer"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*validation_step"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),
]
READING = 0.02  # seconds that a segment takes here, at least


@pytest.fixture
def slow_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    read = RandomSegments.__getitem__

    def slowly(self: RandomSegments, index: int) -> Any:
        time.sleep(READING)
        return read(self, index)

    monkeypatch.setattr(RandomSegments, "__getitem__", slowly)


@pytest.mark.usefixtures("slow_reading")
def test_steps_wait_for_reading_unless_it_is_done_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "TIMED", 2)
    corpus = str(make_corpus(tmp_path))
    alone, ahead = (
        benchmark.measure(5 * READING, 10, root=corpus, batch_size=2, segment_frames=4, num_workers=workers)
        for workers in (0, 1)
    )
    assert alone.wait_seconds >= 2 * READING
    assert ahead.wait_seconds < alone.wait_seconds
    assert alone.batch_seconds < 2 * READING  # sleeping is no work


def test_the_command_says_what_a_step_waits_and_who_would_keep_up(tmp_path, capsys):
    benchmark.main([str(make_corpus(tmp_path)), "--steps", "3", "--step-ms", "1", "--num-workers", "0"])
    waits, takes = capsys.readouterr().out.splitlines()
    assert waits.startswith("a step of 1 ms waits ")
    assert waits.endswith("%")
    assert takes.startswith("a batch takes ")
    assert takes.endswith(" keep up with such steps")
