"""Every recipe builds its model and data, and says nothing that it does not mean."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import yaml

from vocoder.config import NETWORKS, NetworkConfig, from_dict, to_dict

pytest.importorskip("lightning")
from lightning.pytorch.cli import LightningCLI

from vocoder.data.datamodule import VocoderDataModule
from vocoder.training.cli import TRAINER, VocoderCLI
from vocoder.training.module import VocoderModule

RECIPES = Path(__file__).parent.parent / "recipes"
NAMES = sorted(path.parent.name for path in RECIPES.glob("*/train.yaml") if path.parent.name != "learning")
BY_EAR = RECIPES / "voices" / "by-ear.yaml"  # on top of a voice's own recipe
VOICES = sorted(path.stem for path in RECIPES.glob("voices/*.yaml") if path != BY_EAR)

# jsonargparse announces its version 5 to whoever calls it as Lightning 2.6 does.
pytestmark = pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")


class Parsed(VocoderCLI):
    """The command line without a trainer, which a recipe for GPUs would not get here."""

    def instantiate_trainer(self, **kwargs):
        return None


def parse(name: str, monkeypatch, *more: str) -> LightningCLI:
    """Build what a recipe says, one of a voice if there is one of that name."""
    file = RECIPES / "voices" / f"{name}.yaml" if name in VOICES else RECIPES / name / "train.yaml"
    arguments = ["--config", str(file), *more]
    monkeypatch.setattr("sys.argv", ["vocoder"])
    monkeypatch.setattr("vocoder.training.cli.find_speakers", lambda roots: ("anna", "bob"))
    return Parsed(
        VocoderModule,
        VocoderDataModule,
        trainer_defaults=TRAINER,
        auto_configure_optimizers=False,
        run=False,
        seed_everything_default=0,
        parser_kwargs={"parser_mode": "yaml"},
        args=arguments,
    )


@pytest.mark.parametrize("script", sorted(RECIPES.rglob("*.py")), ids=lambda path: path.name)
def test_every_script_finds_what_it_imports(script):
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module  # where dataclasses look for their module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[script.stem]


def test_there_are_recipes():
    assert {"demo", "ljspeech"} <= set(NAMES)
    assert "universal" in VOICES


@pytest.mark.parametrize("name", [*NAMES, *VOICES])
def test_every_recipe_builds_a_model_and_data_that_agree(name, monkeypatch):
    cli = parse(name, monkeypatch)
    assert cli.datamodule.mel == cli.model.mel_config
    assert cli.datamodule.cut.margin == cli.model.margin
    assert cli.config.trainer.max_steps == -1 or cli.config.trainer.max_steps > cli.model.hparams["warmup_steps"]
    assert cli.config.run.folder == f"runs/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_validates_within_its_run_and_falls_to_zero(name, monkeypatch):
    cli = parse(name, monkeypatch)
    assert 0 < cli.model.hparams["decay_steps"] <= cli.config.trainer.max_steps  # it ends well
    assert cli.config.trainer.val_check_interval <= cli.config.trainer.max_steps
    assert cli.config.trainer.check_val_every_n_epoch is None  # a run is one epoch
    assert cli.config.run.checkpoint_every <= cli.config.trainer.val_check_interval


@pytest.mark.parametrize("name", VOICES)
def test_a_recipe_without_an_end_does_not_fall_but_averages(name, monkeypatch):
    cli = parse(name, monkeypatch)
    assert cli.config.trainer.max_steps == -1
    assert cli.model.hparams["decay_steps"] == 0
    assert 0 < cli.config.run.ema_decay < 1


@pytest.mark.parametrize("name", VOICES)
def test_the_second_stage_of_a_voice_changes_how_it_is_trained_and_nothing_else(name, monkeypatch):
    first, second = parse(name, monkeypatch), parse(name, monkeypatch, "--config", str(BY_EAR))
    assert second.model.hparams["free_running"] > 0
    assert 0 < second.model.hparams["decay_steps"] < second.config.trainer.max_steps
    for same in ("mel", "network", "past_noise"):
        assert first.model.hparams[same] == second.model.hparams[same]
    assert first.config.data.root == second.config.data.root


def test_a_row_of_the_learning_table_is_a_recipe_once_row_sh_has_said_the_rest(monkeypatch):
    said = ["--run.folder", "runs/learning/row", "--trainer.max_steps", "900", "--model.decay_steps", "300"]
    cli = parse("learning", monkeypatch, *said)
    assert cli.datamodule.mel == cli.model.mel_config
    assert cli.model.hparams["decay_steps"] == 300
    assert all(option in (RECIPES / "learning" / "row.sh").read_text() for option in said[::2])


@pytest.mark.parametrize("name", ["any-audio", "finetune", "folder", "learning", "ljspeech", *VOICES])
def test_a_recipe_for_a_corpus_trains_the_default_network(name, monkeypatch):
    assert parse(name, monkeypatch).model.hparams["network"] == to_dict(NETWORKS["wavenet-64-g8"])


def test_the_demo_differs_from_the_default_network_in_width_and_depth_alone(monkeypatch):
    default, demo = to_dict(NETWORKS["wavenet-64-g8"]), parse("demo", monkeypatch).model.hparams["network"]
    assert {name for name in default if default[name] != demo[name]} == {
        "residual_channels",
        "gate_channels",
        "skip_channels",
        "conditioning_channels",
        "layers_per_cycle",
    }


def test_the_large_network_of_the_recipe_is_the_one_of_that_name():
    variant = yaml.safe_load((RECIPES / "ljspeech" / "wavenet-128.yaml").read_text())
    assert from_dict(NetworkConfig, variant["model"]["network"]) == NETWORKS["wavenet-128-g8"]
