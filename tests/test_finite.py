"""A step that cannot be taken changes nothing, too many end the run, and every checkpoint is finite."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from conftest import tiny_config

pytest.importorskip("lightning")
from lightning.pytorch.callbacks import ModelCheckpoint

from runs import WHAT_TRAINING_KNOWS, assert_same, make_corpus, recipe, start, vocoder
from vocoder.data.corpora import Utterance
from vocoder.data.segments import RandomSegments, SegmentCutter
from vocoder.training.callbacks import BestCheckpoint
from vocoder.training.finite import MOST_IN_A_ROW, NAMED, DivergedError, FiniteSteps, is_finite, utterances_of_step

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


def run(root: Path, *options: str, spoil: dict[str, Any] | None = None, **trainer: Any) -> None:
    vocoder("fit", prepare(root, spoil, **trainer), *options)


def prepare(root: Path, spoil: dict[str, Any] | None, **trainer: Any) -> dict[str, Any]:
    if not (root / "corpus").is_dir():
        make_corpus(root / "corpus")
    config = tiny_config(dilation_cycles=1)
    values = recipe(root, config.mel, config.network, enable_progress_bar=False, **trainer)
    if spoil is not None:
        values["trainer"]["callbacks"] = [{"class_path": "runs.Spoil", "init_args": spoil}]
    return values


def last(root: Path) -> dict[str, Any]:
    return torch.load(root / "run" / "checkpoints" / "last.ckpt", weights_only=True)


def all_are_finite(root: Path) -> bool:
    saved = [torch.load(path, weights_only=True) for path in (root / "run").rglob("*.ckpt")]
    return all(is_finite(one[key]) for one in saved for key in WHAT_TRAINING_KNOWS)


@pytest.mark.parametrize("how", ["loss", "gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(tmp_path, how, accumulate):
    """Six steps, and six and a seventh that is spoiled in its last batch, leave the same weights, average and state."""
    kept, spoiled, trainer = tmp_path / "kept", tmp_path / "spoiled", {"accumulate_grad_batches": accumulate}
    for root in (kept, spoiled):
        root.mkdir()
    run(kept, max_steps=6, **trainer)
    spoil = {"steps": [6], "how": how, "batch": accumulate - 1}
    run(spoiled, max_steps=7, log_every_n_steps=1, spoil=spoil, **trainer)
    one, other = last(kept), last(spoiled)
    assert (one["global_step"], other["global_step"]) == (6, 7)
    for key in WHAT_TRAINING_KNOWS:
        assert_same(other[key], one[key], key)
    text = (spoiled / "run" / "metrics" / "version_0" / "metrics.csv").read_text()
    counts = [
        float(row["train/skipped_steps"]) for row in csv.DictReader(text.splitlines()) if row["train/skipped_steps"]
    ]
    assert counts[-1] == 1
    assert sum(counts) == 1  # none before


def test_a_run_goes_on_after_steps_that_were_left_out(tmp_path):
    run(tmp_path, max_steps=9, spoil={"steps": [2, 3, 4]})
    saved = last(tmp_path)
    assert int(saved["averaging_state"]["n_averaged"]) == 6
    assert {float(state["step"]) for state in saved["optimizer_states"][0]["state"].values() if "step" in state} == {6}
    assert all_are_finite(tmp_path)


def test_the_count_goes_on_with_the_run_and_the_average_with_the_steps_taken(tmp_path):
    run(tmp_path, max_steps=5, accumulate_grad_batches=2, spoil={"steps": [4]})
    before = last(tmp_path)
    run(tmp_path, "--ckpt_path", "last", max_steps=6, accumulate_grad_batches=2, spoil={"steps": [5]})
    after = last(tmp_path)
    for key in WHAT_TRAINING_KNOWS:
        assert_same(after[key], before[key], key)
    assert after["callbacks"]["FiniteSteps"] == {"skipped": 2, "in_a_row": 2}


def test_too_many_in_a_row_stop_the_run_and_say_where_and_what_to_do(tmp_path):
    remedy = r"Lower the learning rate .*same recordings, look at these\. The last step heard \d"
    with pytest.raises(DivergedError, match=rf"step 22 is the 20th in a row without\. {remedy}"):
        run(tmp_path, max_steps=40, spoil={"steps": list(range(3, 40))})
    assert MOST_IN_A_ROW == 20
    assert int(last(tmp_path)["averaging_state"]["n_averaged"]) == 3
    assert all_are_finite(tmp_path)


def test_a_learning_rate_of_a_million_leaves_no_checkpoint_that_is_not_finite(tmp_path):
    with suppress(DivergedError):  # garbage may also be finite
        run(tmp_path, "--model.learning_rate", "1e6", "--model.muon_learning_rate", "1e6", max_steps=60)
    assert all_are_finite(tmp_path)


@pytest.mark.parametrize("part", ["state_dict", "current_model_state", "optimizer_states"])
def test_a_checkpoint_that_is_not_finite_is_not_written(part):
    """A finite gradient may still be too much for a weight."""
    checkpoint = {"state_dict": {"w": torch.ones(2)}, "optimizer_states": [{"state": {0: {"mean": torch.ones(2)}}}]}
    trainer, steps = SimpleNamespace(global_step=5), FiniteSteps()
    steps.on_save_checkpoint(trainer, None, checkpoint)
    with pytest.raises(DivergedError, match=rf"must be finite, but at step 5 its {part} is not, so it is not written"):
        steps.on_save_checkpoint(trainer, None, {**checkpoint, part: [{"w": torch.tensor([1.0, float("nan")])}]})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_best_has_a_value(tmp_path, monkeypatch, value):
    asked = []
    monkeypatch.setattr(ModelCheckpoint, "on_validation_end", lambda *given: asked.append(given))
    best = BestCheckpoint(tmp_path, "val/nll_bits", "min", "best")
    for metrics in ({}, {"val/nll_bits": torch.tensor(value)}, {"val/nll_bits": torch.tensor(5.0)}):
        best.on_validation_end(SimpleNamespace(callback_metrics=metrics), None)
    assert len(asked) == 1


def test_what_is_finite_is_looked_for_however_deep():
    good = {"a": [torch.ones(2), {"b": (torch.zeros(1), 3)}], "c": "text"}
    assert is_finite(good)
    assert not is_finite({**good, "d": [{"e": torch.tensor([0.0, float("inf")])}]})
    FiniteSteps().on_save_checkpoint(SimpleNamespace(global_step=0), None, {"state_dict": good})


def test_a_step_s_utterances_are_those_that_its_segments_are_cut_from(tmp_path):
    """Each recording is a constant, which tells a segment's own."""
    for level in range(20):
        soundfile.write(tmp_path / f"{level}.wav", np.full(800, level / 32), 8000, subtype="PCM_16")
    utterances = [Utterance(str(level), tmp_path / f"{level}.wav", 800) for level in range(20)]
    segments = RandomSegments(utterances, SegmentCutter(16, (0, 0)), frames=4, seed=0)
    heard = [round(float(segments[index]["waveform"].mean()) * 32) for index in range(32)]
    loader = SimpleNamespace(dataset=segments, batch_size=2)
    trainer = SimpleNamespace(train_dataloader=loader, world_size=2, accumulate_grad_batches=1, global_step=3)
    assert utterances_of_step(trainer) == list(dict.fromkeys(map(str, heard[12:16])))
    loader.batch_size, trainer.global_step = 16, 0
    assert utterances_of_step(trainer)[-1] == f"{len(set(heard)) - NAMED} more"
    assert utterances_of_step(SimpleNamespace(train_dataloader=[])) == []


@pytest.mark.slow
def test_all_processes_leave_out_a_step_of_which_one_alone_has_lost_its_loss(tmp_path):
    spoil, trainer = {"steps": [3, 4], "how": "loss", "rank": 1}, {"devices": 2, "strategy": "ddp"}
    process = start(tmp_path, prepare(tmp_path, spoil, max_steps=6, **trainer))
    assert process.wait(timeout=240) == 0, (tmp_path / "log").read_text()[-3000:]
    saved = last(tmp_path)
    assert int(saved["averaging_state"]["n_averaged"]) == 4
    assert saved["callbacks"]["FiniteSteps"] == {"skipped": 2, "in_a_row": 0}
