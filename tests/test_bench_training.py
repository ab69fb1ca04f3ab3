"""The training benchmark counts what a step takes in, and what the optimizer takes on top."""

from __future__ import annotations

import json
import time

import pytest

from conftest import tiny_config

pytest.importorskip("lightning")
from vocoder.bench import training as benchmark


@pytest.mark.parametrize("order", [0, 16])
def test_steps_and_updates_are_timed(order, monkeypatch, capsys):
    network = tiny_config(linear_prediction_order=order).network
    monkeypatch.setattr(benchmark, "NETWORKS", {"tiny": network})
    arguments = "--network tiny --batch-size 4 --at-once 2 --frames 4 --repetitions 2 --json"
    before = time.perf_counter()
    benchmark.main(arguments.split())
    spent = time.perf_counter() - before
    (row,) = json.loads(capsys.readouterr().out)
    assert row["model"] == "tiny bf16"
    assert row["samples_per_update"] == 4 * 4 * 256
    assert 0 < row["optimizer_seconds"] < spent
    assert len(row["seconds_per_step"]) == 2
