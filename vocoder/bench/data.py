"""How long training waits for its data: `python -m vocoder.bench.data --help`.

Lightning trains a module that computes nothing: its step is a pause as long as a fast device's. What its profiler says
of fetching batches is the wait. Beside it stands what a batch takes of one process's own time, and so how many
processes keep up with such steps.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import time
import warnings
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import SimpleProfiler
from torch import Tensor

from vocoder.data.datamodule import VocoderDataModule

FETCH = "[_TrainingEpochLoop].train_dataloader_next"
WARM_UP = 10  # first batches, for which the processes that read ahead have not begun yet
TIMED = 20  # batches read by this process alone

NEEDLESS_WARNINGS = (
    ".*does not have many workers",  # their number is the question
    ".*your dataloader is not resumable",  # it is, but not here
    ".*no optimizer|.*validation_step",  # there is nothing to train
    ".isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own business with torch
)


@dataclass(frozen=True)
class Waiting:
    """The time that reading takes.

    Attributes:
        wait_seconds: The mean time for which a step waits for its batch.
        batch_seconds: The median time that a batch takes of one process's own.
    """

    wait_seconds: float
    batch_seconds: float


class Pause(LightningModule):
    """A step of a given length, in seconds, during which the processor is free."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.automatic_optimization = seconds, False

    def training_step(self, batch: dict[str, Tensor]) -> None:
        """Do nothing for as long as a step takes."""
        time.sleep(self.seconds)

    def configure_optimizers(self) -> None:
        """Give none: there is nothing to be stepped."""


def measure(step_seconds: float, steps: int, **data: Any) -> Waiting:
    """Measure how long steps wait for their batches.

    Args:
        step_seconds: The length of a step.
        steps: The number of steps.
        data: The arguments of `VocoderDataModule`.
    """
    profiler = SimpleProfiler()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=WARM_UP + steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        profiler=profiler,
    )
    module = VocoderDataModule(**data)
    trainer.fit(Pause(step_seconds), datamodule=module)
    waits = profiler.recorded_durations[FETCH][WARM_UP : WARM_UP + steps]
    module.num_workers, own = 0, []
    batches, begin = iter(module.train_dataloader()), time.process_time()
    for _ in islice(batches, TIMED):
        own.append(time.process_time() - begin)
        begin = time.process_time()
    return Waiting(statistics.fmean(waits), statistics.median(own))


def main(arguments: list[str] | None = None) -> None:
    """Print how long a step waits, and what a batch takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="folder of audio, or manifest")
    parser.add_argument("--batch-size", type=int, default=16, help="segments of a step; %(default)s if left out")
    parser.add_argument("--segment-frames", type=int, default=16, help="of a segment; %(default)s if left out")
    parser.add_argument("--num-workers", type=int, default=2, help="that read ahead; %(default)s if left out")
    parser.add_argument("--step-ms", type=float, default=20.0, help="that a step takes; %(default)s if left out")
    parser.add_argument("--steps", type=int, default=200, help="%(default)s if left out")
    options = parser.parse_args(arguments)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for needless in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", needless)
    size = {"batch_size": options.batch_size, "segment_frames": options.segment_frames}
    found = measure(options.step_ms / 1000, options.steps, root=options.corpus, num_workers=options.num_workers, **size)
    wait, batch = 1000 * found.wait_seconds, 1000 * found.batch_seconds
    print(f"a step of {options.step_ms:g} ms waits {wait:.2f} ms for its batch: {wait / options.step_ms:.1%}")
    print(f"a batch takes {batch:.1f} ms of one process: {math.ceil(batch / options.step_ms)} keep up with such steps")


if __name__ == "__main__":
    main()
