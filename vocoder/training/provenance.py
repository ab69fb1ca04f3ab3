"""The origin of a run, for its loggers: the whole recipe, the corpus, the versions of all that took part."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

import vocoder
from vocoder.data.datamodule import VocoderDataModule

PACKAGE = Path(vocoder.__file__).parent


class Provenance(SaveConfigCallback):
    """Lightning's callback, which writes the settings into the run's folder; they go to all loggers, too."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log it once, on the first process; by now the corpus has been read."""
        facts: dict[str, Any] = {
            "recipe": json.loads(self.parser.dump(self.config, format="json", skip_none=False)),
            "versions": versions(),
            "git_commit": git_commit(PACKAGE),
        }
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, VocoderDataModule):
            facts["corpus"] = describe_corpus(data)
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)


def describe_corpus(data: VocoderDataModule) -> dict[str, Any]:
    """Say how much speech there is in each part, and in each corpus where there are several."""
    minutes_of = 1 / (60 * data.mel.sample_rate)
    parts = {
        name: {"utterances": len(part), "minutes": round(sum(u.samples for u in part) * minutes_of, 2)}
        for name, part in data.splits.items()
    }
    corpora: dict[str, float] = {}
    for utterance in data.splits["train"]:
        corpora[utterance.corpus] = corpora.get(utterance.corpus, 0.0) + utterance.samples * minutes_of
    if len(corpora) > 1:
        parts["training_minutes"] = {name: round(minutes, 2) for name, minutes in corpora.items()}
    return parts


def versions() -> dict[str, str]:
    """Name the versions of what decides a run's numbers."""
    return {
        "vocoder": vocoder.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
        "system": platform.platform(),
    }


def git_commit(package: Path) -> str | None:
    """Give the commit of a package in a git checkout, with `-dirty` where files differ from it; None of any other.

    Args:
        package: The package's folder.
    """
    known, commit = ["ls-files", "--error-unmatch", "__init__.py"], ["describe", "--always", "--dirty", "--abbrev=40"]
    try:
        for command in (known, commit):
            done = subprocess.run(
                ["git", *command], cwd=package, capture_output=True, text=True, timeout=10, check=True
            )
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, or a folder that belongs to someone else
        return None
    return done.stdout.strip()
