"""A corpus, a network and a schedule small enough to train in a test, and a callback that can die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from lightning.pytorch import Callback

from vocoder.config import to_dict
from vocoder.training.cli import main

RATE = 8000
WHAT_TRAINING_KNOWS = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")


def make_corpus(root: Path, number: int = 8) -> Path:
    """Sentences of half a second: a hum that comes and goes, and some hiss."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(number):
        time = np.arange(3000 + 400 * index) / RATE
        hum = 0.3 * np.sin(2 * np.pi * (150 + 20 * index) * time) * np.sin(2 * np.pi * 3 * time) ** 2
        soundfile.write(root / f"{index}.wav", hum + 0.01 * random.standard_normal(len(time)), RATE)
    return root


class Killed(BaseException):
    """What a run dies of within a process."""


class Diary(Callback):
    """Writes down which batch each step saw; dies at the beginning of a step if asked to.

    Args:
        path: A line of JSON for each step: number and fingerprint of the batch.
        die_at: Step, counted from zero; None to live.
        by_signal: Die by SIGKILL instead of an exception.
    """

    def __init__(self, path: str, die_at: int | None = None, by_signal: bool = False) -> None:
        self.path, self.die_at, self.by_signal = Path(path), die_at, by_signal

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.die_at:
            if self.by_signal:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Killed(f"at step {self.die_at}")
        with self.path.open("a") as file:
            file.write(json.dumps([trainer.global_step, float(batch["waveform"].double().sum())]) + "\n")


class Spoil(Callback):
    """Spoils the loss of some steps.

    Args:
        steps: Which, counted from zero.
        how: `loss` makes the loss NaN and leaves its gradient as it is; `gradient` makes the gradient infinite too.
        rank: In which of several processes.
        batch: Which batch of those whose gradients are summed.
    """

    def __init__(self, steps: list[int], how: str = "gradient", rank: int = 0, batch: int = 0) -> None:
        self.steps, self.how, self.rank, self.batch = steps, how, rank, batch

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        whole = pl_module.training_step

        def spoiled(batch: Any, batch_idx: int) -> torch.Tensor:
            loss = whole(batch, batch_idx)
            here = trainer.global_rank == self.rank and batch_idx % trainer.accumulate_grad_batches == self.batch
            if trainer.global_step in self.steps and here:
                loss = loss * float("inf") if self.how == "gradient" else loss + float("nan")
            return loss

        pl_module.training_step = spoiled


def read_diary(path: Path) -> list[tuple[int, float]]:
    """(step, fingerprint of its batch) in order of writing; a line that a kill cut off is left out."""
    if not path.is_file():
        return []
    return [tuple(json.loads(line)) for line in path.read_text().split("\n")[:-1]]


def recipe(
    root: Path, mel: Any, network: Any, *, diary: dict[str, Any] | None = None, **trainer: Any
) -> dict[str, Any]:
    """A recipe as its YAML would say it; the run and its corpus lie in `root`."""
    values = {
        "run": {
            "folder": str(root / "run"),
            "checkpoint_every": 5,
            "ema_decay": 0.9,
            "clip_frames": 0,
            "logger": "none",
        },
        "model": {"mel": to_dict(mel), "network": to_dict(network), "warmup_steps": 2},
        "data": {
            "root": str(root / "corpus"),
            "batch_size": 2,
            "segment_frames": 8,
            "validation_frames": 40,
            "num_workers": 0,
        },
        "trainer": {
            "max_steps": 20,
            "val_check_interval": 10,
            "check_val_every_n_epoch": None,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 3,
            "accelerator": "cpu",
            "precision": "32-true",
            **trainer,
        },
    }
    if diary is not None:
        values["trainer"]["callbacks"] = [{"class_path": "runs.Diary", "init_args": diary}]
    return values


def vocoder(command: str, values: dict[str, Any], *options: str) -> None:
    """`vocoder COMMAND --config RECIPE OPTIONS`, in this process."""
    root = Path(values["run"]["folder"]).parent
    config = root / "train.yaml"
    config.write_text(json.dumps(values))  # JSON is YAML
    arguments = [command, "--config", str(config), *options]
    before, sys.argv = sys.argv, ["vocoder", *arguments]  # as from a shell
    try:
        main(arguments)
    finally:
        sys.argv = before


def start(root: Path, values: dict[str, Any], *options: str) -> subprocess.Popen[bytes]:
    """`vocoder fit` in a process of its own, which can be killed."""
    (root / "train.yaml").write_text(json.dumps(values))
    tests = Path(__file__).parent
    with (root / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "vocoder", "fit", "--config", str(root / "train.yaml"), *options],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)]), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def assert_same(one: Any, other: Any, at: str = "", *, tolerance: float = 0.0) -> None:
    """Equal, however nested; to the last bit unless a tolerance is given."""
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, msg=lambda text: f"{at}: {text}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key in one:
            assert_same(one[key], other[key], f"{at}/{key}", tolerance=tolerance)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), at
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{at}/{index}", tolerance=tolerance)
    else:
        assert one == other, at
