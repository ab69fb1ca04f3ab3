"""How many streams a machine serves: the numbers are about what they say, whatever they are here."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import torch

from conftest import tiny_config, tiny_mel_config, tiny_network
from vocoder.bench.live import format_live, measure_first_sound, run_live
from vocoder.cli import main
from vocoder.inference.stream import Stream
from vocoder.inference.vocoder import Vocoder


def tiny(**changes: Any) -> Vocoder:
    config = tiny_config(mel=tiny_mel_config(**changes))
    return Vocoder(config, tiny_network(config))


@pytest.mark.parametrize("layout", ["bands_first", "frames_first"])
def test_each_number_of_streams_is_served(layout: str) -> None:
    rows = run_live(tiny(layout=layout), [1, 3], 10, 0.1)
    assert [row["streams"] for row in rows] == [1, 3]
    for row in rows:
        assert row["chunk_ms"] == pytest.approx(1000 * 10 * 16 / 8000)
        assert row["first_sound_ms"] > 0
        assert 0 <= row["kept_up"] <= row["streams"]
        assert 0 < row["delay_ms_50"] <= row["delay_ms_95"] <= row["delay_ms_99"] <= row["delay_ms_max"]
    assert len(format_live(rows).splitlines()) == 3


def test_streams_that_are_too_slow_do_not_keep_up(monkeypatch: pytest.MonkeyPatch) -> None:
    push = Stream.push

    def slowly(self: Stream, mel: Any) -> Any:
        time.sleep(0.03)  # of chunks that come every 20 ms
        return push(self, mel)

    monkeypatch.setattr(Stream, "push", slowly)
    [row] = run_live(tiny(), [2], 10, 0.2)
    assert row["kept_up"] == 0
    assert row["delay_ms_max"] > row["chunk_ms"]


def test_the_first_sound_waits_for_twenty_milliseconds_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    push, pushed = Stream.push, []

    def slowly(self: Stream, mel: Any) -> Any:
        pushed.append(mel.shape[1])
        time.sleep(0.01)
        return push(self, mel)

    model = tiny()
    monkeypatch.setattr(Stream, "push", slowly)
    first = measure_first_sound(model, torch.zeros(8, 40), 3)
    chunks = len(pushed) / 9
    assert set(pushed) == {3}
    assert chunks == -(-(round(model.latency / 0.002) + 10) // 3)  # of 2 ms: those that it waits for, and ten
    assert first >= 0.01 * chunks


def test_the_command_prints_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench-live", "--streams", "1", "--seconds", "0.2", "--chunk-frames", "4", "--json"]
    assert main(command) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["streams"] == 1


@pytest.mark.parametrize("option", ["--streams", "--chunk-frames", "--seconds"])
def test_what_is_not_positive_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-live", option, "0"]) == 2
    assert "must be positive" in capsys.readouterr().err
