"""The moving average of the weights: what validation, export and inference use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from vocoder.training.finite import FiniteSteps


def decay_after(updates: float, most: float) -> float:
    """Give how much of the average an update keeps, from 2/11 at first up to `most`.

    So the average looks back over a tenth of the steps until that is 1 / (1 - most) of them: one of a short run, or of
    fine-tuning, is not held back by where it began. TensorFlow's `ExponentialMovingAverage(num_updates=…)` has the
    same.

    Args:
        updates: The number of updates before this one, at least 1: the first copies the weights.
        most: The decay of a long run, below 1.
    """
    return min(most, (1 + updates) / (10 + updates))


def moving_average(most: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Give the update that `torch.optim.swa_utils.AveragedModel` calls, with the decay of `decay_after`."""

    def update(average: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        torch._foreach_lerp_(average, current, 1 - decay_after(float(updates), most))

    return update


class AveragedWeights(WeightAveraging):
    """Lightning's, with a decay that grows with the steps; the count of updates is in the checkpoint.

    It comes without Lightning's warning that validation and test restore no average: they get it as the weights.

    Args:
        decay: The decay of a long run; see `decay_after`.
        steps: The callback that decides on each step; one that it leaves out does not count.
    """

    def __init__(self, decay: float, steps: FiniteSteps) -> None:
        super().__init__(use_buffers=False, multi_avg_fn=moving_average(decay))
        self.steps = steps

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Follow each step that was taken."""
        return super().should_update(step_idx, epoch_idx) and self.steps.in_a_row == 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the average where training runs: at this point the module itself is still on the CPU."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore current and averaged weights when a run goes on."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
