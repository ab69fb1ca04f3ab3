"""`vocoder fit | validate | test`: Lightning's command line over our module and data, with recipes as YAML.

Each number is written once: the data module takes its mel and its margins from the model's.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from vocoder.config import to_dict
from vocoder.data.datamodule import VocoderDataModule
from vocoder.inference.models import load_model
from vocoder.training.callbacks import StepsBar, WholeFiles, default_callbacks
from vocoder.training.module import VocoderModule

log = logging.getLogger(__name__)

NEEDLESS_WARNINGS = (
    "Checkpoint directory .* exists and is not empty",  # a run goes on in its own folder
    ".*your dataloader is not resumable",  # it is: `Continuing` begins at the step that the trainer has come to
    ".* does not have many workers",  # to read short stretches needs few
    ".isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own business with torch
)

NEEDLESS_WORDS = (
    "Tip:",  # advertising
    "`weights_only` was not set",  # `WholeFiles` sets it
    "Tensor Cores",  # autocast uses them; TF32 everywhere would round the linear prediction to ten bits
)

# What every recipe wants of Lightning's trainer, and can change.
TRAINER = {
    # Not "auto", which takes Apple's GPU: it has no float64, in which the linear predictor is computed.
    "accelerator": "cuda" if torch.cuda.is_available() else "cpu",
    "precision": "bf16-mixed",  # of multiplicands; the waveform and the residual stream stay float32
    "gradient_clip_val": 1.0,
    "val_check_interval": 2000,
    "check_val_every_n_epoch": None,  # a run is one epoch: validation is counted in steps
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 25,
    "enable_model_summary": False,  # we say what matters, in a line
}


class VocoderCLI(LightningCLI):
    """LightningCLI with our links, callbacks and loggers."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the `run` group, and say which numbers follow from which."""
        parser.link_arguments("model.mel_config", "data.mel", apply_on="instantiate")
        parser.link_arguments("model.margin_frames", "data.margin_frames", apply_on="instantiate")
        parser.add_argument("--run.folder", type=str, default="runs/vocoder", help="Where the run keeps all it writes.")
        parser.add_argument("--run.checkpoint_every", type=int, default=500, help="Steps between two `last.ckpt`.")
        parser.add_argument("--run.ema_decay", type=float, default=0.999, help="Of the averaged weights.")
        parser.add_argument("--run.clip_frames", type=int, default=40, help="Frames of sound per validation; 0: none.")
        parser.add_argument("--run.start_from", type=str, help="Model to fine-tune: folder, .ckpt, voice or hub id.")
        parser.add_argument("--run.wandb", type=bool, default=True, help="To Weights & Biases; offline if logged out.")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what every recipe wants to what the YAML asks for."""
        run = self._get(self.config_init, "run")
        root = Path(run.folder)
        clip_frames = run.clip_frames if self.subcommand == "fit" else 0
        callbacks = default_callbacks(
            root, checkpoint_every=run.checkpoint_every, ema_decay=run.ema_decay, clip_frames=clip_frames
        )
        asked = self._get(self.config_init, "trainer")
        if asked.logger in (None, True):
            asked.logger = [CSVLogger(root, name="metrics")]
            if run.wandb and self.subcommand == "fit":
                asked.logger.append(_wandb_logger(root))
        bar = [] if asked.enable_progress_bar is False else [StepsBar()]
        ours = {
            "default_root_dir": str(root),
            "callbacks": [*callbacks, *bar, *_listed(asked.callbacks)],
            "plugins": [WholeFiles(), *_listed(asked.plugins)],
            "use_distributed_sampler": False,  # our sampler shares the segments out among the processes itself
        }
        return super().instantiate_trainer(**{**ours, **kwargs})

    def before_fit(self) -> None:
        """Take the weights of the model to fine-tune, unless the run is gone on with, which has its own by then."""
        model = self._get(self.config_init, "run").start_from
        if model is not None and self._get(self.config_init, "ckpt_path") is None:
            take_weights(self.model, model)


def take_weights(module: VocoderModule, model: str) -> None:
    """Begin with the weights of a trained model.

    Args:
        module: To be trained.
        model: Folder, .ckpt, voice or hub id.

    Raises:
        ValueError: The model is of another size or shape, or hears another mel; the message names each field.
    """
    trained = load_model(model)
    pairs = (("mel", trained.config.mel, module.mel_config), ("network", trained.config.network, module.network.config))
    changed = [
        f"{part}.{name} {value} instead of {to_dict(ours)[name]}"
        for part, theirs, ours in pairs
        for name, value in to_dict(theirs).items()
        if value != to_dict(ours)[name]
    ]
    if changed:
        raise ValueError(
            f"A model to start from must have the recipe's mel and network, but {model} has {', '.join(changed)}. "
            "Set these as it has them."
        )
    module.network.load_state_dict(trained.network.state_dict())


def _listed(value: Any) -> list[Any]:
    """Nothing, one thing or several of them, as a list."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _wandb_logger(root: Path) -> WandbLogger:
    """A W&B run that never waits for a prompt: offline when nobody is logged in."""
    import wandb

    root.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
    if mode == "offline":
        log.info(
            "Weights & Biases: logging offline. To upload the run: wandb login, then wandb sync %s/wandb/offline-run-*",
            root,
        )
    return WandbLogger(project="vocoder", save_dir=root, mode=mode, settings=wandb.Settings(silent=True))


def main(args: list[str]) -> None:
    """Run `fit`, `validate` or `test` with the given command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chatty = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    chatty.addFilter(lambda record: not any(words in record.getMessage() for words in NEEDLESS_WORDS))
    for needless in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", needless)
    VocoderCLI(
        VocoderModule,
        VocoderDataModule,
        trainer_defaults=TRAINER,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"parser_mode": "yaml"},
        args=None if args == sys.argv[1:] else args,  # LightningCLI warns of `args` that it would find by itself
    )
