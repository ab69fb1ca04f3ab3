"""Steps that cannot be taken: a loss or a gradient that is no number changes nothing, and too many end the run."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vocoder.data.segments import RandomSegments

log = logging.getLogger(__name__)

MOST_IN_A_ROW = 20  # a bad segment breaks a step or two; weights that have diverged break them all
NAMED = 8  # utterances of a step, at most, in a message


class DivergedError(ArithmeticError):
    """Training cannot go on: the loss or the weights are no numbers any more; the message says what to do."""


class FiniteSteps(Callback):
    """Leave out each step whose loss or gradient is not finite: weights, optimizer and average stay as they were.

    It takes the gradients away, and what has no gradient no optimizer steps: so neither the optimizer nor clipping need
    know. The norm of all gradients tells of them at once. All processes decide alike. Skipped steps count as steps, so
    that the run's segments and learning rate are a function of the step as ever.

    Attributes:
        skipped: The number of steps left out in the whole run.
        in_a_row: The number of steps left out since the last one that was taken.
    """

    def __init__(self) -> None:
        self.skipped = self.in_a_row = 0
        self._loss: Tensor | float = 0.0  # the sum over the batches of a step

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Note the loss, without waiting for its value yet."""
        self._loss = self._loss + loss.detach().float()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Decide on the step.

        Raises:
            DivergedError: It is one too many in a row to be left out.
        """
        loss, self._loss = self._loss, 0.0
        broken = not_finite(loss, [p.grad for p in pl_module.parameters() if p.grad is not None])
        if trainer.strategy.reduce(broken, reduce_op="max") > 0:
            self._skip(trainer, optimizer)
        else:
            self.in_a_row = 0
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (trainer.global_step + 1) % every == 0:
            pl_module.log("train/skipped_steps", float(self.skipped))

    def _skip(self, trainer: Trainer, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        step, heard = trainer.global_step, ", ".join(utterances_of_step(trainer)) or "unknown"
        if self.in_a_row >= MOST_IN_A_ROW:
            raise DivergedError(
                f"A step needs a finite loss and gradient, but step {step} is the {self.in_a_row}th in a row without. "
                "Lower the learning rate (model.learning_rate, model.muon_learning_rate) and go on from a checkpoint "
                "before it diverged, or begin anew. If it is always the same recordings, look at these. The last step "
                f"heard {heard}."
            )
        log.warning("Step %d is left out: its loss or gradient is not finite. It heard %s.", step, heard)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep what is no number from taking a good checkpoint's place; the average is in the checkpoint already.

        Raises:
            DivergedError: Weights, their average or the optimizer's state are not finite.
        """
        parts = ("state_dict", "current_model_state", "optimizer_states")
        broken = [part for part in parts if not is_finite(checkpoint.get(part, {}))]
        if broken:
            raise DivergedError(
                f"A checkpoint must be finite, but at step {trainer.global_step} its {', '.join(broken)} is not, so it "
                "is not written. Lower the learning rate (model.learning_rate, model.muon_learning_rate) and go on "
                "from the last checkpoint."
            )

    def state_dict(self) -> dict[str, Any]:
        """Give the counts, for a run that goes on."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the counts up again."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]


def not_finite(loss: Tensor | float, gradients: list[Tensor]) -> Tensor:
    """Give 1 if a loss or a gradient is not finite, otherwise 0: a float32 tensor (), on the device.

    The gradients' norm tells it of all of them in one pass; where it is too large for float32, clipping by it would
    leave nothing of the gradient.
    """
    norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
    return (~(norm + loss).isfinite()).float()


def is_finite(values: Any) -> bool:
    """Say whether all tensors in a nest of dicts and lists are finite."""
    if isinstance(values, Tensor):
        return bool(values.isfinite().all())
    inside = values.values() if isinstance(values, dict) else values if isinstance(values, list | tuple) else ()
    return all(is_finite(value) for value in inside)


def utterances_of_step(trainer: Trainer) -> list[str]:
    """Name the utterances from which the segments of the present step were cut, by id; empty if that is not known."""
    loader: Any = trainer.train_dataloader
    segments = getattr(loader, "dataset", None)
    if not isinstance(segments, RandomSegments) or not loader.batch_size:
        return []
    count = loader.batch_size * trainer.world_size * trainer.accumulate_grad_batches
    first = trainer.global_step * count
    names = list(dict.fromkeys(segments.utterance(index).id for index in range(first, first + count)))
    return names[:NAMED] + [f"{len(names) - NAMED} more"] * (len(names) > NAMED)
