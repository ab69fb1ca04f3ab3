"""Two processes that share a run (DDP over gloo) come to the weights of one process with the joined batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import tiny_config

pytest.importorskip("lightning")
from runs import assert_same, make_corpus, recipe, start


def trained(root: Path, *, processes: int, steps: int, free_running: float) -> dict[str, Any]:
    """Give the last checkpoint of a run with four segments a step, over so many processes."""
    make_corpus(root / "corpus")
    config = tiny_config("gaussian", num_components=1, samples_per_step=4, recent_excitations=3, dilation_cycles=1)
    values = recipe(root, config.mel, config.network, max_steps=steps, val_check_interval=steps, devices=processes)
    values["trainer"]["strategy"] = "ddp" if processes > 1 else "auto"
    values["data"].update(batch_size=4 // processes, segment_frames=140 if free_running else 16)
    values["run"]["checkpoint_every"], values["model"]["free_running"] = steps, free_running
    process = start(root, values)
    assert process.wait(timeout=240) == 0, (root / "log").read_text()[-3000:]
    return torch.load(root / "run" / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(("steps", "free_running"), [(12, 0.0), pytest.param(1, 3.3, marks=pytest.mark.slow)])
def test_two_processes_come_to_the_weights_of_one(tmp_path, steps, free_running):
    """Weights and their average: each process steps alike, from gradients that DDP has averaged.

    One step of training by ear: after it weights differ in their last digit, and free copies wherever that makes them
    round to another level.
    """
    one, two = (
        trained(tmp_path / str(processes), processes=processes, steps=steps, free_running=free_running)
        for processes in (1, 2)
    )
    assert one["global_step"] == two["global_step"] == steps
    for part in ("state_dict", "current_model_state"):
        assert_same(one[part], two[part], part, tolerance=1e-3)
