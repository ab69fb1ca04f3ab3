"""Curves of a run, from each kind of file that a run leaves: they are what was logged."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger

from vocoder.plots import draw_curves
from vocoder.plots.curves import smooth
from vocoder.plots.logs import read_csv, read_tensorboard
from vocoder.plots.runs import Run, name_runs, read_runs

Row = tuple[int, dict[str, float]]


def rows(begin: int = 0, end: int = 400, drift: float = 0.0) -> list[Row]:
    """What a run logs: training every other step, validation every hundred."""
    logged: list[Row] = []
    for step in range(begin, end, 2):
        bits = 7 + 2 * math.exp(-step / 50) + drift
        logged.append((step, {"lr-AdamW/pg1": 1e-3 * (1 - step / 400), "lr-AdamW/pg2": 2e-3}))
        logged.append((step, {"train/nll": bits * math.log(2), "train/nll_bits": bits}))
        logged.append((step, {"train/samples_per_second": 1e5 + step}))
        if step % 100 == 98:
            logged.append((step, {"val/nll": bits, "val/nll_bits": bits + 0.1}))
    return logged


def write_csv(folder: Path, logged: list[Row], version: int = 0) -> None:
    logger = CSVLogger(folder, name="metrics", version=version)
    for step, metrics in logged:
        logger.log_metrics(metrics, step)
    logger.save()


def write_tensorboard(folder: Path, logged: list[Row]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for step, metrics in logged:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        writer.add_event(Event(step=step, summary=Summary(value=values)))
    writer.close()


def check(run: Run, logged: list[Row], rtol: float = 1e-12) -> None:
    """The curves are what was logged."""
    for curve, name in (
        (run.training, "train/nll_bits"),
        (run.validation, "val/nll_bits"),
        (run.learning_rate, "lr-AdamW/pg1"),
        (run.throughput, "train/samples_per_second"),
    ):
        points = {step: metrics[name] for step, metrics in logged if name in metrics}
        np.testing.assert_array_equal(curve.steps, list(points))
        np.testing.assert_allclose(curve.values, list(points.values()), rtol=rtol)


def test_lightnings_csv_is_read_as_written(tmp_path: Path) -> None:
    write_csv(tmp_path / "run", rows())
    (run,) = read_runs([tmp_path / "run"])
    assert run.name == "run"
    check(run, rows())
    check(read_runs([tmp_path / "run" / "metrics" / "version_0" / "metrics.csv"])[0], rows())


def test_tensorboards_events_are_read_as_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write_tensorboard(tmp_path / "run", rows())
    check(read_runs([tmp_path / "run"])[0], rows(), rtol=1e-6)  # they are float32


def test_a_run_that_was_resumed_is_one_curve(tmp_path: Path) -> None:
    # Killed at step 250 after a checkpoint at 200, and again at 320 after one at 300; the tenth comes after the ninth.
    write_csv(tmp_path, rows(0, 250), version=8)
    write_csv(tmp_path, rows(200, 320, drift=0.5), version=9)
    write_csv(tmp_path, rows(300, 400, drift=1.0), version=10)
    expected = [*rows(0, 200), *rows(200, 300, drift=0.5), *rows(300, 400, drift=1.0)]
    check(read_runs([tmp_path])[0], expected)


def test_a_validation_by_itself_is_no_part_of_the_curve(tmp_path: Path) -> None:
    write_csv(tmp_path, rows())
    write_csv(tmp_path, [(0, {"val/nll_bits": 5.0})], version=1)
    check(read_runs([tmp_path])[0], rows())


def test_nats_become_bits(tmp_path: Path) -> None:
    write_csv(tmp_path, [(step, {"train/nll": 3.0 * math.log(2), "val/nll": math.log(2)}) for step in range(5)])
    (run,) = read_runs([tmp_path])
    np.testing.assert_allclose(run.training.values, 3)
    np.testing.assert_allclose(run.validation.values, 1)


def test_a_run_that_diverged_ends_where_it_did(tmp_path: Path) -> None:
    write_csv(tmp_path, [(step, {"train/nll_bits": 8.0 if step < 3 else math.nan}) for step in range(6)])
    np.testing.assert_array_equal(read_runs([tmp_path])[0].training.steps, [0, 1, 2])
    draw_curves([tmp_path])


def test_runs_are_named_by_what_tells_their_folders_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("x/a", "x/b", "y/a")]
    for folder in folders:
        folder.mkdir(parents=True)
    assert name_runs(folders[:1]) == ["a"]
    assert name_runs(folders[:2]) == ["a", "b"]
    assert name_runs(folders) == ["x/a", "x/b", "y/a"]


def test_what_is_drawn_is_what_was_logged(tmp_path: Path) -> None:
    write_csv(tmp_path / "a", rows())
    write_csv(tmp_path / "b", rows(end=200, drift=1.0))
    figure = draw_curves([tmp_path / "a", tmp_path / "b"])
    likelihood, rate, speed = figure.axes
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    drawn: list[Any] = [line.get_xydata() for line in likelihood.lines]
    for index, run in enumerate(runs):
        raw, smoothed, validation = drawn[3 * index : 3 * index + 3]
        np.testing.assert_array_equal(raw, np.stack([run.training.steps, run.training.values], axis=1))
        np.testing.assert_array_equal(smoothed[:, 1], smooth(run.training.values))
        np.testing.assert_array_equal(validation[:, 1], run.validation.values)
        np.testing.assert_array_equal(rate.lines[index].get_ydata(), run.learning_rate.values)
        np.testing.assert_array_equal(speed.lines[2 * index].get_ydata(), run.throughput.values)
    legend = likelihood.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "training", "validation"]
    low, high = likelihood.get_ylim()
    assert low < min(run.validation.values.min() for run in runs)
    assert runs[1].training.values[10] < high < runs[1].training.values[0]  # the first steps lie above


def test_smoothing_keeps_what_is_smooth() -> None:
    np.testing.assert_allclose(smooth(np.full(100, 3.0)), 3.0)
    straight = np.arange(100.0)
    np.testing.assert_allclose(smooth(straight)[2:-2], straight[2:-2])  # over five points
    noise = np.random.default_rng(0).standard_normal(10_000)
    assert smooth(noise).std() == pytest.approx(1 / math.sqrt(401), rel=0.3)
    assert len(smooth(np.array([]))) == 0


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder or a file, but there is none at .*nowhere"):
        draw_curves([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match=r"has a file metrics\.csv, .* holds none of these"):
        draw_curves([tmp_path])
    write_csv(tmp_path, [(0, {"val/nll_bits": 5.0})])
    with pytest.raises(ValueError, match="needs finite values of train/nll_bits or train/nll"):
        draw_curves([tmp_path])
    for count in (0, 7):
        with pytest.raises(ValueError, match=f"One to 6 runs can be told apart, but there are {count}"):
            draw_curves([tmp_path] * count)


@pytest.mark.parametrize("text", ["step,train/nll\n1,x\n", "train/nll\n1\n", "step,train/nll\n,1\n", "step,a\n1,2,3\n"])
def test_a_csv_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=r"must be a metrics\.csv of Lightning's"):
        read_csv(tmp_path / "metrics.csv")


def test_a_missing_reader_is_named(tmp_path: Path, without_package: Callable[[str], None]) -> None:
    without_package("tensorboard")
    with pytest.raises(ModuleNotFoundError, match=r"needs tensorboard, .* Run `pip install tensorboard`"):
        read_tensorboard(tmp_path / "x")
