"""What a run logs can be read back from what its loggers have written, without an account and without network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml

import vocoder as package
from conftest import tiny_config

pytest.importorskip("lightning")
from runs import Killed, make_corpus, recipe, vocoder
from vocoder.plots.runs import read_runs
from vocoder.training.loggers import MetricsFile, WandbOptions, create_loggers
from vocoder.training.provenance import git_commit

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


def values_of(root: Path, logger: str, **trainer: Any) -> dict[str, Any]:
    if not (root / "corpus").is_dir():
        make_corpus(root / "corpus")
    config = tiny_config(dilation_cycles=1)
    trainer = {"val_check_interval": 4, "log_every_n_steps": 1, "enable_progress_bar": False, **trainer}
    values = recipe(root, config.mel, config.network, **trainer)
    values["run"] |= {"logger": logger, "clip_frames": 10, "clips": 1}
    return values


def check_provenance(config: dict[str, Any], root: Path) -> None:
    """The whole recipe, what there was to learn from, and with which versions."""
    assert config["recipe"]["data"]["root"] == str(root / "corpus")
    assert config["recipe"]["model"]["warmup_steps"] == 2
    assert config["corpus"]["train"]["utterances"] == 6
    seconds = 60 * sum(part["minutes"] for part in config["corpus"].values())
    length = sum(soundfile.info(path).duration for path in (root / "corpus").iterdir())
    assert seconds == pytest.approx(length, abs=3 * 0.3)  # three parts, each rounded to 0.01 minutes
    assert config["versions"]["vocoder"] == package.__version__


def test_the_metrics_file_is_whole_after_every_line(tmp_path):
    """A kill takes nothing that was logged before."""
    logger = MetricsFile(tmp_path, None)
    for step in (0, 1):
        logger.log_metrics({"train/nll": 1.5}, step)
        lines = (tmp_path / "metrics" / "version_0" / "metrics.csv").read_text().splitlines()
        assert lines[1:] == [f"{at},1.5" for at in range(step + 1)]


def test_a_run_s_files_say_what_it_was_made_of(tmp_path):
    vocoder("fit", values_of(tmp_path, "none", max_steps=1))
    (path,) = (tmp_path / "run" / "metrics").rglob("hparams.yaml")
    check_provenance(yaml.safe_load(path.read_text()), tmp_path)


def test_the_commit_is_that_of_a_checkout_and_of_no_folder_that_lies_in_one(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    (checkout := tmp_path / "checkout").mkdir()
    (installed := tmp_path / "installed").mkdir()
    for folder in (checkout, installed):
        (folder / "__init__.py").touch()
    for command in (["init", "-q"], ["add", "checkout"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_commit(checkout) == head
    (checkout / "__init__.py").write_text("changed = True")
    assert git_commit(checkout) == f"{head}-dirty"
    assert git_commit(installed) is None


def test_tensorboard_has_curves_sound_and_pictures_also_of_a_run_that_went_on(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values = values_of(tmp_path, "tensorboard", max_steps=9)
    dying = {"class_path": "runs.Diary", "init_args": {"path": str(tmp_path / "diary"), "die_at": 8}}
    with pytest.raises(Killed):
        vocoder("fit", {**values, "trainer": {**values["trainer"], "callbacks": [dying]}})
    vocoder("fit", values, "--ckpt_path", "last")  # from step 5
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"audio": 0, "images": 0}).Reload()
    assert {event.step for event in events.Scalars("val/nll_bits")} == {3, 7, 8}
    assert [event.step for event in events.Scalars("train/nll_bits")] == list(range(9))
    for name in ("original", "teacher-forced", "generated"):
        sounds = events.Audio(f"clips/{name}")
        assert [sound.step for sound in sounds] == [3, 7, 8]
        assert {(sound.sample_rate, sound.length_frames) for sound in sounds} == {(8000.0, 160)}
    assert [picture.step for picture in events.Images("log-mel")] == [3, 7, 8]
    (run,) = read_runs([tmp_path / "run" / "tensorboard"])
    assert (run.name, len(run.training.steps)) == ("run", 9)


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: seven bytes, then LevelDB's log (its doc/log_format.md) in blocks of 32 KiB."""
    data, position, parts = path.read_bytes(), 7, list[bytes]()
    while position + 7 <= len(data):
        left = 32_768 - position % 32_768
        if left < 7:  # too little of the block for a record: it is filled up
            position += left
            continue
        kind, begin = data[position + 6], position + 7
        position = begin + int.from_bytes(data[position + 4 : position + 6], "little")
        parts = [*([] if kind in (1, 2) else parts), data[begin:position]]  # 1: whole, 2: first, 4: last
        if kind in (1, 4):
            yield b"".join(parts)


def read_wandb(root: Path) -> tuple[Any, dict[str, Any], list[Any]]:
    """The run, its config and its artifacts in the only file of Weights & Biases that a folder holds."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = (root / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    records = [Record.FromString(data) for data in read_records(path)]
    (run,) = [record.run for record in records if record.HasField("run")]
    updates = [run.config, *[record.config for record in records if record.HasField("config")]]
    config: dict[str, Any] = {}
    for item in (item for update in updates for item in update.update):
        place, names = config, list(item.nested_key) or [item.key]
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = json.loads(item.value_json)
    requests = [record.request.log_artifact.artifact for record in records if record.request.HasField("log_artifact")]
    return run, config, [*requests, *[record.artifact for record in records if record.HasField("artifact")]]


def test_weights_and_biases_has_all_offline_where_nobody_is_logged_in_and_asks_nothing(tmp_path):
    """In a process of its own, without an account; wandb alone takes some seconds to begin and to end."""
    values = values_of(tmp_path, "wandb", max_steps=4)
    values["run"]["name"] = "first"
    values["run"]["folder"] = str(tmp_path)
    values["wandb"] = {"project": "p", "entity": "e", "group": "g", "tags": ["a", "b"], "upload_best": True}
    (tmp_path / "train.yaml").write_text(json.dumps(values))
    tests = Path(__file__).parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB") and name != "NETRC"}
    paths = os.pathsep.join([str(tests.parent), str(tests)])
    done = subprocess.run(
        [sys.executable, "-m", "vocoder", "fit", "--config", str(tmp_path / "train.yaml")],
        env={**kept, "HOME": str(tmp_path), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "wandb login" in done.stderr
    assert "Warning" not in done.stderr
    (tmp_path / "first").rename(tmp_path / "run")
    media = list((tmp_path / "run" / "wandb").glob("offline-run-*/files/media/*/*"))
    assert {path.suffix for path in media} == {".wav", ".png"}
    run, config, artifacts = read_wandb(tmp_path)
    assert (run.project, run.entity, run.display_name, run.run_group) == ("p", "e", "first", "g")
    assert list(run.tags) == ["a", "b"]
    check_provenance(config, tmp_path)
    (artifact,) = artifacts
    assert (artifact.name, artifact.type, sorted(artifact.aliases)) == (
        f"best-{run.run_id}",
        "model",
        ["best", "latest"],
    )
    (best,) = [entry.path for entry in artifact.manifest.contents if not entry.path.startswith("best-pesq")]
    assert (tmp_path / "run" / "checkpoints" / best).is_file()


def test_a_run_that_goes_on_is_the_same_at_weights_and_biases(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "wandb" / "offline-run-20260101_000000-abc-1").mkdir(parents=True)
    _, new = create_loggers(tmp_path, "wandb", WandbOptions(), name="x", step=None)
    _, same = create_loggers(tmp_path, "wandb", WandbOptions(), name="x", step=5)
    assert (new.version, same.version) == (None, "abc-1")


def test_tensorboard_that_is_missing_says_how_to_get_it(tmp_path, without_package):
    without_package("tensorboard")
    with pytest.raises(ModuleNotFoundError, match=r"needs the package tensorboard.*pip install tensorboard"):
        create_loggers(tmp_path, "tensorboard", WandbOptions(), name=None, step=None)
