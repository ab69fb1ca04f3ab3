"""`vocoder fit | validate | test`: Lightning's command line over our module and data, with recipes as YAML.

Each number is written once: the data module takes its mel and its margins from the model's.
"""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger

from vocoder.bundles.bundle import unpickle
from vocoder.bundles.names import load_model
from vocoder.config import to_dict
from vocoder.data.datamodule import VocoderDataModule
from vocoder.data.layouts import find_speakers
from vocoder.formats import upgrade
from vocoder.training.callbacks import StepsBar, UploadBest, WholeFiles, default_callbacks
from vocoder.training.failures import describe
from vocoder.training.folder import find_start, read_step, refuse_to_replace, run_folder
from vocoder.training.lock import lock_folder
from vocoder.training.loggers import Kind, WandbOptions, create_loggers
from vocoder.training.module import VocoderModule, check_same_speakers, widen
from vocoder.training.provenance import Provenance

log = logging.getLogger(__name__)

NEEDLESS_WARNINGS = (
    "The dirpath has changed from",  # a decay goes on from another run's checkpoint in a folder of its own
    "Checkpoint directory .* exists and is not empty",  # a run goes on in its own folder
    ".*your dataloader is not resumable",  # it is: `Continuing` begins at the step that the trainer has come to
    ".* does not have many workers",  # to read short stretches needs few
    ".isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own business with torch
)

NEEDLESS_WORDS = (
    "Tip:",  # advertising
    "`weights_only` was not set",  # `WholeFiles` sets it
    "Tensor Cores",  # autocast uses them; TF32 everywhere would round the linear prediction to ten bits
    "TPU available",
)
TALKERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.callbacks.model_checkpoint",
)

PARSER = {"parser_mode": "yaml", "exit_on_error": False}  # an error is ours to show
USAGE = "vocoder {0} --config RECIPE [--SETTING VALUE ...]"
ABOUT = (
    "Settings of a recipe and the command line; what comes later wins. `--ckpt_path last` goes on with a run. "
    "`run`, `data`, `model` and `wandb` are ours and come first; at the end stand those of Lightning's trainer, "
    "`--trainer.*`: "
    "https://lightning.ai/docs/pytorch/stable/common/trainer.html."
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

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """List Lightning's subcommands that we have; `vocoder predict` is a command of its own."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Put our settings before those of Lightning's trainer, and say which numbers follow from which."""
        parser.description = ABOUT
        self._add_run(parser)
        parser.add_lightning_class_args(self._datamodule_class, "data")
        parser.add_lightning_class_args(self._model_class, "model")
        parser.add_class_arguments(WandbOptions, "wandb")
        parser.link_arguments("model.mel_config", "data.mel", apply_on="instantiate")
        parser.link_arguments("model.margin_frames", "data.margin_frames", apply_on="instantiate")
        parser.link_arguments("model.speakers", "data.speaker_names", apply_on="instantiate")
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})

    @staticmethod
    def _add_run(parser: LightningArgumentParser) -> None:
        add = parser.add_argument
        add("--debug", action="store_true", help="Show where an error came from.")
        add("--run.folder", type=str, default="runs/vocoder", help="Where the run keeps all it writes.")
        add("--run.name", type=str, help="Of a folder of its own within that, and at Weights & Biases.")
        add("--run.overwrite", type=bool, default=False, help="Start anew in a folder that holds a run's checkpoints.")
        add("--run.checkpoint_every", type=int, default=500, help="Steps between two `last.ckpt`.")
        add("--run.ema_decay", type=float, default=0.999, help="Of the averaged weights, at most.")
        add("--run.clip_frames", type=int, default=100, help="Frames of each sound made at validation; 0: none.")
        add("--run.clips", type=int, default=8, help="Utterances of which sound is made and measured at validation.")
        add("--run.start_from", type=str, help="Model to fine-tune: folder, .ckpt, voice or hub id.")
        add("--run.decay_from", type=str, help="Checkpoint of a run, from which on the learning rate falls to zero.")
        add("--run.logger", type=Kind, default="wandb", help="Beside the metrics file; W&B is offline if logged out.")

    def _parse_ckpt_path(self) -> None:
        """Take mel and network of the checkpoint that shall be measured, as they were meant when it was written.

        Lightning would let every setting of a checkpoint win over those that are asked for now. A run that goes on has
        the settings of its recipe and command line.
        """
        asked = self.config.get(self.config.get("subcommand")) or {}
        path = asked.get("ckpt_path")
        if self.config.get("subcommand") not in ("validate", "test") or not path or not Path(path).is_file():
            return
        checkpoint = unpickle(Path(path))
        stored = {name: checkpoint["hyper_parameters"][name] for name in ("mel", "network")}
        stored = upgrade(stored, checkpoint.get("format_version", 1))
        model = {name: stored[name] for name in ("mel", "network")}
        model["speakers"] = checkpoint["hyper_parameters"].get("speakers", [])
        self.config = self.parser.parse_object({self.config.subcommand: {"model": model}}, self.config)

    def before_instantiate_classes(self) -> None:
        """Give the model the speakers of its data, unless it has a table already.

        Raises:
            ValueError: The network shall have several voices, but no data says whose.
        """
        model, data = self._get(self.config, "model"), self._get(self.config, "data")
        if data.speakers and not model.speakers:
            model.speakers = list(find_speakers([data.root] if isinstance(data.root, str) else data.root))
        if model.network.num_speakers and not model.speakers and self.subcommand == "fit":
            raise ValueError(
                "The number of voices follows from the data, but network.num_speakers is "
                f"{model.network.num_speakers}. Leave it out, and pass `--data.speakers true`."
            )

    @property
    def folder(self) -> Path:
        """The folder in which the run keeps all it writes; a decay has its own within that of its run."""
        run = self._get(self.config_init, "run")
        return run_folder(run.folder, run.name, decays=run.decay_from is not None)

    @cached_property
    def start(self) -> Path | None:
        """The checkpoint that the run goes on from."""
        return find_start(self.folder, self._get(self.config_init, "ckpt_path"))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what every recipe wants to what the YAML asks for."""
        run, root, fits = self._get(self.config_init, "run"), self.folder, self.subcommand == "fit"
        if fits:
            lock_folder(root)
            refuse_to_replace(root, self.start, overwrite=run.overwrite)
        callbacks = default_callbacks(
            root,
            checkpoint_every=run.checkpoint_every,
            ema_decay=run.ema_decay,
            clip_frames=run.clip_frames if fits else 0,
            clips=run.clips,
        )
        asked = self._get(self.config_init, "trainer")
        if asked.logger in (None, True):
            asked.logger = self._loggers(root) if fits else [CSVLogger(root, name="metrics")]
        bar = [] if asked.enable_progress_bar is False else [StepsBar()]
        upload = [UploadBest()] if self._get(self.config_init, "wandb").upload_best else []
        ours = {
            "default_root_dir": str(root),
            "callbacks": [*callbacks, *upload, *bar, *_listed(asked.callbacks)],
            "plugins": [WholeFiles(), *_listed(asked.plugins)],
            "use_distributed_sampler": False,  # our sampler shares the segments out among the processes itself
            "max_epochs": -1 if asked.max_epochs is None else asked.max_epochs,  # a run is one epoch, however long
        }
        if run.decay_from and fits:
            ours["max_steps"] = self._end_of_decay(run.decay_from)
        return super().instantiate_trainer(**{**ours, **kwargs})

    def _loggers(self, root: Path) -> list[Logger]:
        """Give the loggers of a run, and a name to its settings: those that it began with are kept when it goes on."""
        run, wandb = self._get(self.config_init, "run"), self._get(self.config_init, "wandb")
        step = None if self.start is None else read_step(self.start)
        if step is not None:
            self.save_config_kwargs = {**self.save_config_kwargs, "config_filename": f"config-from-{step}.yaml"}
        return create_loggers(root, run.logger, wandb, name=run.name, step=step)

    def _end_of_decay(self, checkpoint: str) -> int:
        """Give the step at which a decay from a checkpoint ends.

        Raises:
            ValueError: There is no such checkpoint, the decay has no length, or the run shall go on from another too.
        """
        other = self._get(self.config_init, "ckpt_path")
        if other is not None:
            raise ValueError(
                f"A decay goes on from the checkpoint in run.decay_from, but there is also ckpt_path {other}. Leave "
                "one out; a decay that was interrupted begins again with `--run.overwrite true`."
            )
        steps = self.model.hparams["decay_steps"]
        if steps < 1:
            raise ValueError(
                f"A decay needs a length, but model.decay_steps is {steps}. Set it: `--model.decay_steps 2000`."
            )
        if not Path(checkpoint).is_file():
            raise ValueError(
                f"run.decay_from must be a checkpoint of a run, but there is no file {checkpoint}. Runs keep theirs in "
                "<run.folder>/checkpoints/."
            )
        begin = int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
        log.info("From step %d of %s the learning rate falls to zero at step %d.", begin, checkpoint, begin + steps)
        return begin + steps

    def before_fit(self) -> None:
        """Say where the run begins: with the checkpoint to decay from, or with the weights of a model to fine-tune.

        A run that goes on from a checkpoint has weights of its own, also where its recipe names a model to start from.
        """
        run, start = self._get(self.config_init, "run"), self.start
        if run.overwrite and start is None:
            self.datamodule.setup("fit")  # the old run goes when nothing is in the way of the new one
            for path in (self.folder / "checkpoints").glob("*.ckpt"):
                if run.decay_from is None or not path.samefile(run.decay_from):
                    path.unlink(missing_ok=True)
        if run.decay_from is not None:
            start = Path(run.decay_from)
        elif run.start_from is not None and start is None:
            take_weights(self.model, run.start_from)
        self.config_init["fit"]["ckpt_path"] = None if start is None else str(start)


def take_weights(module: VocoderModule, model: str) -> None:
    """Begin with the weights of a trained model. One of a single voice gives it to each of several speakers.

    Args:
        module: The module to be trained.
        model: The model: a folder, .ckpt, voice or hub id.

    Raises:
        ValueError: The model is of another size or shape, or hears another mel, or has other voices; the message names
            each field.
    """
    trained, network = load_model(model), module.network.config
    network = replace(network, unvoiced_reach=trained.config.network.unvoiced_reach)  # any weights go with any bound
    if trained.config.network.num_speakers:
        check_same_speakers(trained.config.speakers, module.speakers)
    else:
        network = replace(network, num_speakers=0, speaker_channels=trained.config.network.speaker_channels)
    pairs = (("mel", trained.config.mel, module.mel_config), ("network", trained.config.network, network))
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
    module.network.load_state_dict(widen(trained.network.state_dict(), module.network))


def _listed(value: Any) -> list[Any]:
    """Turn nothing, one thing or several of them into a list."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def leave_out_needless() -> None:
    """Keep Lightning from saying what helps nobody here."""
    for talker in TALKERS:
        logging.getLogger(talker).addFilter(_is_needed)
    for needless in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", needless)


def _is_needed(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in NEEDLESS_WORDS)


def run(args: list[str]) -> int:
    """Run a command, and say in one paragraph what stopped it; `--debug` shows where.

    Returns:
        The exit code: 0, or 2 after an error.
    """
    try:
        main(args)
    except Exception as error:
        if "--debug" in args:
            raise
        print(f"vocoder: error: {describe(error)}", file=sys.stderr)
        return 2
    return 0


def main(args: list[str]) -> None:
    """Run `fit`, `validate` or `test` with the given command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    leave_out_needless()
    VocoderCLI(
        VocoderModule,
        VocoderDataModule,
        save_config_callback=Provenance,
        trainer_defaults=TRAINER,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={name: {**PARSER, "usage": USAGE.format(name)} for name in VocoderCLI.subcommands()} | PARSER,
        args=None if args == sys.argv[1:] else args,  # LightningCLI warns of `args` that it would find by itself
    )
