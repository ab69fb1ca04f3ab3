"""A run killed at any instant loses the steps since its last checkpoint at most, and goes on as if never killed."""

from __future__ import annotations

import csv
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import tiny_config

pytest.importorskip("lightning")
from runs import WHAT_TRAINING_KNOWS, Killed, assert_same, make_corpus, read_diary, recipe, start, vocoder
from vocoder.training.lock import lock_folder

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


def run(root: Path, *, resume: bool = False, die_at: int | None = None, **trainer: Any) -> None:
    values = tiny_recipe(root, die_at=die_at, **trainer)
    vocoder("fit", values, *(["--ckpt_path", "last"] if resume else []))


def tiny_recipe(root: Path, *, die_at: int | None = None, by_signal: bool = False, **trainer: Any) -> dict[str, Any]:
    if not (root / "corpus").is_dir():
        make_corpus(root / "corpus")
    config = tiny_config(dilation_cycles=1)
    diary = {"path": str(root / "diary"), "die_at": die_at, "by_signal": by_signal}
    return recipe(root, config.mel, config.network, diary=diary, enable_model_summary=False, **trainer)


def checkpoints(root: Path) -> dict[str, dict[str, Any]]:
    """Every checkpoint of a run, by name: each loads, or this fails."""
    return {p.name: torch.load(p, weights_only=True) for p in (root / "run" / "checkpoints").glob("*.ckpt")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    """A run of 20 steps."""
    root = tmp_path_factory.mktemp("uninterrupted")
    run(root)
    return root


@pytest.mark.parametrize("die_at", [10, 13], ids=["right after a checkpoint and a validation", "in between"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, uninterrupted, die_at):
    with pytest.raises(Killed, match=f"at step {die_at}"):
        run(tmp_path, die_at=die_at)
    assert checkpoints(tmp_path)["last.ckpt"]["global_step"] == 10
    run(tmp_path, resume=True)
    expected, ended = (checkpoints(root)["last.ckpt"] for root in (uninterrupted, tmp_path))
    assert ended["global_step"] == 20
    for key in WHAT_TRAINING_KNOWS:
        assert_same(ended[key], expected[key], key)
    whole, diary = read_diary(uninterrupted / "diary"), read_diary(tmp_path / "diary")
    assert [step for step, _ in whole] == list(range(20))
    assert len({fingerprint for _, fingerprint in whole}) > 15
    assert diary == whole[:die_at] + whole[10:]


def test_a_run_resumes_with_gradient_accumulation(tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for root in (straight, broken):
        root.mkdir()
    run(straight, max_steps=8, accumulate_grad_batches=2, val_check_interval=100)
    with pytest.raises(Killed, match="at step 6"):
        run(broken, max_steps=8, accumulate_grad_batches=2, val_check_interval=100, die_at=6)
    run(broken, max_steps=8, accumulate_grad_batches=2, val_check_interval=100, resume=True)
    whole = read_diary(straight / "diary")
    assert [step for step, _ in whole] == [step for step in range(8) for _ in range(2)]
    assert read_diary(broken / "diary") == whole[:12] + whole[10:]
    one, other = (checkpoints(root)["last.ckpt"] for root in (straight, broken))
    assert_same(one["current_model_state"], other["current_model_state"])


def test_a_finished_run_can_be_prolonged(tmp_path):
    run(tmp_path, max_steps=7)
    run(tmp_path, max_steps=12, resume=True)
    assert checkpoints(tmp_path)["last.ckpt"]["global_step"] == 12
    assert [step for step, _ in read_diary(tmp_path / "diary")] == list(range(12))


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run(tmp_path, max_steps=6)
    before = checkpoints(tmp_path)["last.ckpt"]
    run(tmp_path, max_steps=6, resume=True)
    after = checkpoints(tmp_path)["last.ckpt"]
    for key in WHAT_TRAINING_KNOWS:
        assert_same(after[key], before[key], key)
    assert len(read_diary(tmp_path / "diary")) == 6


def test_a_run_killed_by_the_system_goes_on_from_its_last_checkpoint(tmp_path, uninterrupted):
    process = start(tmp_path, tiny_recipe(tmp_path, die_at=8, by_signal=True))
    assert process.wait(timeout=300) == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert {name: saved["global_step"] for name, saved in checkpoints(tmp_path).items()} == {"last.ckpt": 5}
    run(tmp_path, resume=True)
    assert read_diary(tmp_path / "diary") == (whole := read_diary(uninterrupted / "diary"))[:8] + whole[5:]
    expected, ended = (checkpoints(root)["last.ckpt"] for root in (uninterrupted, tmp_path))
    assert_same(ended["state_dict"], expected["state_dict"], tolerance=1e-4)  # another process may round otherwise


HOLDS = """
import sys
from pathlib import Path
from vocoder.training.lock import lock_folder
lock_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_one_run_at_a_time_has_a_folder_and_a_killed_one_leaves_it(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FileExistsError, match=r"another that goes on holds .*`--run\.folder`"):
            lock_folder(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    for _ in range(2):  # a process may begin again in its own folder
        lock_folder(tmp_path)


def rates(folder: Path) -> list[float]:
    """Muon's learning rate at each step that was logged."""
    text = max((folder / "metrics").glob("version_*/metrics.csv")).read_text()
    return [float(row["lr-Muon"]) for row in csv.DictReader(text.splitlines()) if row["lr-Muon"]]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "decayed" not in path.parts
    }


def test_a_decay_falls_to_zero_and_leaves_the_run_that_it_branches_off_from_as_it_was(tmp_path, uninterrupted):
    run(tmp_path, max_steps=10)
    last, before = tmp_path / "run" / "checkpoints" / "last.ckpt", bytes_of(tmp_path / "run")
    values = tiny_recipe(tmp_path, max_steps=20, log_every_n_steps=1)
    values["run"]["start_from"] = "a model that the run began with"
    vocoder("fit", values, "--run.decay_from", str(last), "--model.decay_steps", "4")
    assert bytes_of(tmp_path / "run") == before
    decayed = tmp_path / "run" / "decayed"
    ended = torch.load(decayed / "checkpoints" / "last.ckpt", weights_only=True)
    assert ended["global_step"] == 14
    assert int(ended["averaging_state"]["n_averaged"]) == 14
    assert rates(decayed) == pytest.approx([0.02, 0.015, 0.01, 0.005])
    run(tmp_path, resume=True)
    # The branch saw what the run sees after step 10; the run then ended as if nothing had branched off.
    diary, whole = read_diary(tmp_path / "diary"), read_diary(uninterrupted / "diary")
    assert diary == whole[:14] + whole[10:]
    expected, ended = (checkpoints(root)["last.ckpt"] for root in (uninterrupted, tmp_path))
    for key in WHAT_TRAINING_KNOWS:
        assert_same(ended[key], expected[key], key)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.decay_steps", "0"], r"needs a length, but model.decay_steps is 0\. Set it"),
        (["--ckpt_path", "last"], r"there is also ckpt_path last\. .*`--run.overwrite true`"),
        (["--run.decay_from", "nowhere.ckpt"], r"there is no file nowhere\.ckpt"),
    ],
)
def test_a_decay_that_makes_no_sense_says_why(tmp_path, uninterrupted, options, message):
    last = str(uninterrupted / "run" / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match=message):
        vocoder("fit", tiny_recipe(tmp_path), "--run.decay_from", last, "--model.decay_steps", "4", *options)


def test_a_run_without_an_end_goes_on_until_it_is_stopped_and_from_where_it_was(tmp_path, uninterrupted):
    with pytest.raises(Killed, match="at step 13"):
        run(tmp_path, max_steps=-1, die_at=13)
    assert checkpoints(tmp_path)["last.ckpt"]["global_step"] == 10
    run(tmp_path, resume=True)  # to step 20
    whole = read_diary(uninterrupted / "diary")
    assert read_diary(tmp_path / "diary") == whole[:13] + whole[10:]
    expected, ended = (checkpoints(root)["last.ckpt"] for root in (uninterrupted, tmp_path))
    assert_same(ended["state_dict"], expected["state_dict"])


def test_the_rate_of_a_run_gone_on_with_is_the_one_asked_for_now(tmp_path):
    run(tmp_path, max_steps=6)
    values = tiny_recipe(tmp_path, max_steps=9, log_every_n_steps=1)
    vocoder("fit", values, "--ckpt_path", "last", "--model.muon_learning_rate", "0.01")
    assert rates(tmp_path / "run")[-3:] == pytest.approx([0.01, 0.01, 0.01])
    path, values = (
        tmp_path / "run" / "checkpoints" / "last.ckpt",
        tiny_recipe(tmp_path, max_steps=11, log_every_n_steps=1),
    )
    vocoder("fit", values, "--ckpt_path", str(path), "--model.muon_learning_rate", "0.02")  # a path means no less
    assert rates(tmp_path / "run")[-2:] == pytest.approx([0.02, 0.02])


@pytest.mark.parametrize(("version", "remedy"), [(None, "--run.start_from CHECKPOINT"), (99, "Upgrade vocoder")])
def test_a_run_goes_on_from_a_checkpoint_of_its_own_format_alone(tmp_path, uninterrupted, version, remedy):
    checkpoint = torch.load(uninterrupted / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint.pop("format_version") if version is None else checkpoint.update(format_version=version)
    torch.save(checkpoint, tmp_path / "other.ckpt")
    values = tiny_recipe(tmp_path, max_steps=25)
    with pytest.raises(ValueError, match=rf"format_version 2, but this one has {version or 1}\. .*{remedy}"):
        vocoder("fit", values, "--ckpt_path", str(tmp_path / "other.ckpt"))


def test_a_checkpoint_of_format_1_is_measured_as_the_network_that_it_was(tmp_path):
    """Its network has fewer fields, and another shape than today's defaults."""
    values = tiny_recipe(tmp_path, max_steps=3)
    run(tmp_path, max_steps=3)
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    for name in ("samples_per_step", "sample_channels", "recent_excitations"):
        del checkpoint["hyper_parameters"]["network"][name]
    checkpoint["format_version"] = 1
    torch.save(checkpoint, tmp_path / "old.ckpt")
    values["model"]["network"] = {}
    vocoder("test", values, "--ckpt_path", str(tmp_path / "old.ckpt"))


@pytest.mark.slow
def test_ten_kills_at_random_instants_leave_no_trace(tmp_path):
    chance, steps = random.Random(0), 300
    values = tiny_recipe(tmp_path, max_steps=steps)
    done = 0
    for _ in range(10):
        process = start(tmp_path, values, "--ckpt_path", "last")
        lines, enough = len(read_diary(tmp_path / "diary")), chance.randint(1, 25)
        while process.poll() is None and len(read_diary(tmp_path / "diary")) < lines + enough:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
        reached = read_diary(tmp_path / "diary")[-1][0]
        saved = checkpoints(tmp_path).get("last.ckpt", {"global_step": 0})["global_step"]
        assert done <= saved <= reached + 1
        assert reached - saved <= 5  # no more is lost than lies between two checkpoints
        done = saved
    assert start(tmp_path, values, "--ckpt_path", "last").wait() == 0, (tmp_path / "log").read_text()

    straight = tmp_path / "straight"
    straight.mkdir()
    assert start(straight, tiny_recipe(straight, max_steps=steps)).wait() == 0, (straight / "log").read_text()
    expected, ended = (checkpoints(root)["last.ckpt"] for root in (straight, tmp_path))
    assert ended["global_step"] == expected["global_step"] == steps
    assert_same(ended["state_dict"], expected["state_dict"], tolerance=1e-3)  # each process may round otherwise
    whole = read_diary(straight / "diary")
    assert [step for step, _ in whole] == list(range(steps))
    assert set(read_diary(tmp_path / "diary")) == set(whole)
