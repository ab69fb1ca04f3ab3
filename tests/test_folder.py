"""A run has a folder of its own: nothing in it is replaced unasked, and a run that goes on writes on in its files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import tiny_config

pytest.importorskip("lightning")
from runs import Killed, make_corpus, recipe, vocoder
from vocoder.training.folder import find_metrics, find_start, find_wandb_id, run_folder

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


def fit(root: Path, *options: str, diary: dict[str, Any] | None = None, **trainer: Any) -> None:
    if not (root / "corpus").is_dir():
        make_corpus(root / "corpus")
    config = tiny_config(dilation_cycles=1)
    trainer = {"enable_progress_bar": False, "log_every_n_steps": 1, "val_check_interval": 4, **trainer}
    vocoder("fit", recipe(root, config.mel, config.network, diary=diary, **trainer), *options)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def step(root: Path) -> int:
    return int(torch.load(root / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


def rows(root: Path) -> list[dict[str, str]]:
    """The rows of the only metrics file, without the speed, which no two runs have in common, and the epoch."""
    (path,) = (root / "run" / "metrics").rglob("metrics.csv")
    left_out = ("train/samples_per_second", "epoch")
    with path.open(newline="") as file:
        return [{name: row[name] for name in row if name not in left_out} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of seven steps."""
    root = tmp_path_factory.mktemp("finished")
    fit(root, max_steps=7)
    return root


def test_a_run_of_another_name_leaves_the_first_as_it_was(finished):
    before = files(finished / "run")
    fit(finished, "--run.name", "second", max_steps=2)
    after = files(finished / "run")
    assert {name: after[name] for name in before} == before
    assert step(finished / "run" / "second") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"run holds one\. .*`--ckpt_path last`.*`--run.name NAME`.*`--run.overwrite true`"),
        (["--ckpt_path", "best"], r"No step is thrown away unasked, but .*run has come to step 7 and best-4"),
        (["--ckpt_path", "other"], r"other.ckpt is not of the run that .*run holds\. Set `--run.folder` to its own"),
        (["--ckpt_path", "nowhere.ckpt"], r"there is no file nowhere\.ckpt\. `--ckpt_path last`"),
        (["--ckpt_path", "damaged"], r"damaged\.ckpt is none, or is damaged"),
        (["--run.name", "../elsewhere"], r"run.name is '../elsewhere'\. Folders belong into run.folder"),
    ],
)
def test_nothing_of_a_run_is_replaced_unasked(finished, tmp_path, options, message):
    best = finished / "run" / "checkpoints" / "best-4.ckpt"
    saved = torch.load(finished / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**saved, "global_step": 4}, best)
    torch.save(saved, tmp_path / "other.ckpt")
    (finished / "run" / "checkpoints" / "damaged.ckpt").write_bytes(b"PK")
    named = {"best": str(best), "other": str(tmp_path / "other.ckpt"), "damaged": str(best.with_name("damaged.ckpt"))}
    before = files(finished / "run")
    with pytest.raises((FileExistsError, FileNotFoundError, ValueError), match=message):
        fit(finished, *[named.get(option, option) for option in options], max_steps=9)
    assert files(finished / "run") == before


def test_a_run_that_is_asked_to_be_replaced_is_when_nothing_is_in_the_way_of_the_new_one(tmp_path):
    fit(tmp_path, max_steps=6)
    misspelled = ["--data.root", str(tmp_path / "misspelled")]
    with pytest.raises(ValueError, match="A corpus is a folder"):
        fit(tmp_path, "--run.overwrite", "true", *misspelled, max_steps=3)
    assert step(tmp_path / "run") == 6
    fit(tmp_path, "--run.overwrite", "true", max_steps=3)
    assert step(tmp_path / "run") == 3


@pytest.mark.parametrize("die_at", [6, 8, 9])
def test_the_metrics_of_a_run_that_was_killed_and_went_on_are_those_of_one_that_was_not(tmp_path, die_at):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for root in (straight, broken):
        root.mkdir()
    fit(straight, max_steps=11)
    with pytest.raises(Killed):
        fit(broken, diary={"path": str(tmp_path / "diary"), "die_at": die_at}, max_steps=11)
    fit(broken, "--ckpt_path", "last", max_steps=11)
    assert [row for row in rows(broken) if not row["val/nll_bits"]] == [
        row for row in rows(straight) if not row["val/nll_bits"]
    ]
    validated = [row["step"] for row in rows(broken) if row["val/nll_bits"]]
    assert validated == ["3", "7", "10"]


def test_the_settings_that_a_run_began_with_are_kept_when_it_goes_on_with_others(tmp_path):
    fit(tmp_path, max_steps=3)
    fit(tmp_path, "--ckpt_path", "last", "--model.learning_rate", "0.5", max_steps=4)
    (folder,) = (tmp_path / "run" / "metrics").iterdir()
    assert "learning_rate: 0.5" not in (folder / "config.yaml").read_text()
    assert "learning_rate: 0.5" in (folder / "config-from-3.yaml").read_text()


def test_a_run_asked_to_go_on_that_has_not_begun_begins_with_the_model_to_start_from(tmp_path, finished):
    """So the same command serves a job that is started again and again."""
    last = finished / "run" / "checkpoints" / "last.ckpt"
    rates = ["--model.learning_rate", "0", "--model.muon_learning_rate", "0"]
    fit(tmp_path, "--ckpt_path", "last", "--run.start_from", str(last), *rates, max_steps=2)
    begun = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in torch.load(last, weights_only=True)["state_dict"].items():
        torch.testing.assert_close(begun[name], value)  # averaging alike weights rounds them


def test_the_bar_counts_the_whole_run_s_steps(tmp_path, capsys):
    fit(tmp_path, max_steps=5)
    fit(tmp_path, "--ckpt_path", "last", max_steps=8, enable_progress_bar=True)
    assert "8/8" in capsys.readouterr().out


def test_names_are_folders_and_a_decay_lies_within_its_run():
    assert run_folder("runs/x", None) == Path("runs/x")
    assert run_folder("runs/x", "first") == Path("runs/x/first")
    assert run_folder("runs/x", "first", decays=True) == Path("runs/x/first/decayed")


def test_what_a_run_goes_on_in_is_found_by_what_its_loggers_have_written(tmp_path):
    assert find_start(tmp_path, None) is find_start(tmp_path, "last") is None
    assert find_metrics(tmp_path) is find_wandb_id(tmp_path) is None
    for version, header in {2: "step,train/nll", 10: "step,train/nll", 11: "step,val/nll"}.items():
        (folder := tmp_path / "metrics" / f"version_{version}").mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"{header}\n")
    for name in ("run-20260102_000000-later-one", "offline-run-20260101_000000-first", "latest-run"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert find_metrics(tmp_path) == 10  # 11 is a measurement beside
    assert find_wandb_id(tmp_path) == "later-one"
