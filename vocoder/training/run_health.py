"""The health of a run: its curve, the steps that it left out, and its speed against that of quiet cores."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.saving import load_hparams_from_yaml

from vocoder.evaluation.voice_health import Finding, Yardstick
from vocoder.plots.logs import Log
from vocoder.plots.runs import join_logs, read_logs
from vocoder.training.folder import find_metrics
from vocoder.training.module import VocoderModule
from vocoder.training.timed_steps import steps_of

PROBE_SECONDS = 3.0
LATEST = 20  # log lines, of which the median is the run's speed now

CURVE = Yardstick(
    "curve",
    "bits per sample of the last validation over the best one",
    0.02, 0.1,
    "take the best checkpoint; with little data stop there, otherwise lower the learning rates",
)  # fmt: skip
SKIPPED = Yardstick(
    "skipped steps",
    "% of steps left out because loss or gradient was no number",
    0.0, 1.0,
    "look at the recordings that the log names, and lower the learning rates",
)  # fmt: skip
SPEED = Yardstick(
    "throughput",
    "% of the speed of quiet cores that the run did not reach, one core for each process",
    25.0, 60.0,
    "set OMP_NUM_THREADS=1 beside other work; give data.num_workers a core; see what else runs",
)  # fmt: skip
OTHERS = Yardstick(
    "other work",
    "% of its time for which a process that wants one core waits for it, now",
    10.0, 30.0,
    "something else runs on these cores: stop it, or give the run cores of its own (taskset)",
)  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """The time of a training step on this machine now, on one thread.

    Attributes:
        samples_per_second: The number of samples trained on in a second of the processor's own time, as if nothing else
            ran.
        waited: The share of the time in which the processor did something else, from 0 to 1.
    """

    samples_per_second: float
    waited: float


def check_run(root: Path) -> list[Finding]:
    """Look at the run in a folder; what it has not logged, or cannot be compared here, is left out.

    Raises:
        ValueError: The folder's metrics file is damaged.
    """
    version = find_metrics(root)
    if version is None:
        return []
    log, recipe = join_logs(read_logs(root / "metrics" / f"version_{version}" / "metrics.csv")), read_recipe(root)
    findings = [*_check_curve(log), *_check_skipped(log)]
    speeds = list(log.get("train/samples_per_second", {}).values())[-LATEST:]
    if recipe is None or not speeds or recipe["trainer"]["accelerator"] != "cpu":
        return findings
    probe = probe_step(recipe)
    devices = recipe["trainer"]["devices"]
    reachable = probe.samples_per_second * (devices if isinstance(devices, int) else 1)
    missed = max(0.0, 1 - statistics.median(speeds) / reachable)
    return [*findings, Finding(SPEED, 100 * missed), Finding(OTHERS, 100 * probe.waited)]


def read_recipe(root: Path) -> dict[str, Any] | None:
    """Read all settings of the run in a folder, as it has logged them; None if it has not."""
    settings = root / "metrics" / f"version_{find_metrics(root)}" / "hparams.yaml"
    return load_hparams_from_yaml(settings).get("recipe") if settings.is_file() else None


def _check_curve(log: Log) -> list[Finding]:
    validated = list(log.get("val/nll_bits", {}).values())
    return [Finding(CURVE, validated[-1] - min(validated))] if validated else []


def _check_skipped(log: Log) -> list[Finding]:
    skipped = log.get("train/skipped_steps", {})
    return [Finding(SKIPPED, 100 * skipped[last] / (last + 1))] if (last := max(skipped, default=-1)) >= 0 else []


def probe_step(recipe: Mapping[str, Any]) -> Probe:
    """Time training steps of a recipe's model and batch on random audio, for some seconds on one thread."""
    model, data, trainer = recipe["model"], recipe["data"], recipe["trainer"]
    module = VocoderModule(model["mel"], model["network"], past_noise=model["past_noise"])
    size, bf16 = (data["batch_size"], data["segment_frames"]), "bf16" in str(trainer["precision"])
    gradients, update = steps_of(module, *size, at_once=data["batch_size"], bf16=bf16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        gradients(), update()  # the first is slower
        begin, own, steps = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - begin < PROBE_SECONDS:
            gradients()
            steps += 1
            if steps % trainer["accumulate_grad_batches"] == 0:
                update()
        wall, own = time.perf_counter() - begin, time.process_time() - own
    finally:
        torch.set_num_threads(threads)
    samples = steps * size[0] * size[1] * module.mel_config.hop_length
    return Probe(samples / own, max(0.0, 1 - own / wall))
