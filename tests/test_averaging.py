"""The average looks back over a tenth of the steps, and in a long run over as many as its decay says."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")
from torch.optim.swa_utils import AveragedModel

from vocoder.training.averaging import decay_after, moving_average


def average_of(steps: int, most: float) -> float:
    """The average of weights that are 1, 2, …, `steps`, as torch makes it with our update."""
    model = torch.nn.Linear(1, 1)
    averaged = AveragedModel(model, use_buffers=False, multi_avg_fn=moving_average(most))
    for step in range(1, steps + 1):
        with torch.no_grad():
            model.weight.fill_(step)
        averaged.update_parameters(model)
    assert int(averaged.n_averaged) == steps
    return float(averaged.module.weight.detach())


@pytest.mark.parametrize("steps", [20, 100, 400])
def test_the_average_of_a_short_run_is_a_tenth_of_it_behind(steps):
    # The weight of step k is in proportion to (k + 1) … (k + 9) / (10 + n): a mean at nine tenths, and a step or so.
    assert average_of(steps, 0.9999) == pytest.approx(0.9 * steps, abs=1.5)


def test_the_average_of_a_long_run_is_as_far_behind_as_its_decay_says():
    assert average_of(1000, 0.9) == pytest.approx(1000 - 0.9 / 0.1, abs=0.01)


def test_the_decay_grows_to_the_one_asked_for():
    decays = [decay_after(n, 0.999) for n in range(1, 20_000)]
    assert decays[0] == 2 / 11
    assert decays == sorted(decays)
    assert decays.index(0.999) == pytest.approx(9 / 0.001, rel=0.01)


def test_weights_that_stay_are_their_average():
    model = torch.nn.Linear(3, 3)
    averaged = AveragedModel(model, use_buffers=False, multi_avg_fn=moving_average(0.999))
    for _ in range(50):
        averaged.update_parameters(model)
    assert torch.equal(averaged.module.weight, model.weight)
