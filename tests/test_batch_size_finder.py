"""Lightning's `BatchSizeFinder` works with our data: the run that follows is the one with its batch from the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import tiny_config

pytest.importorskip("lightning")
from runs import WHAT_TRAINING_KNOWS, assert_same, make_corpus, recipe, vocoder

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove, and warns of trials of two steps.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval"),
]


def fit(root: Path, *options: str, **data: Any) -> dict[str, Any]:
    """Train for six steps; gives the last checkpoint."""
    make_corpus(root / "corpus")
    config = tiny_config("gaussian", num_components=1, dilation_cycles=1)
    values = recipe(root, config.mel, config.network, max_steps=6, val_check_interval=3)
    values["data"] |= {"batch_size": 3, "segment_frames": 3, **data}
    vocoder("fit", values, *options)
    return torch.load(root / "run" / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("size", ["batch_size", "segment_frames"])
def test_a_run_whose_size_is_found_is_the_run_of_that_size(tmp_path, size):
    finder = ["--trainer.callbacks+=BatchSizeFinder", f"--trainer.callbacks.batch_arg_name={size}"]
    trials = ["--trainer.callbacks.max_trials=3", "--trainer.callbacks.steps_per_trial=2"]
    found = fit(tmp_path / "found", *finder, *trials)
    given = fit(tmp_path / "given", **{size: 8})  # after 2 and 4, the first that is tried and the second
    for part in WHAT_TRAINING_KNOWS:
        assert_same(found[part], given[part], part)
    assert not list((tmp_path / "found" / "run").glob(".scale_batch_size*"))
