"""The message of a run that ended early: one paragraph with the remedy; unforeseen errors are kept in its folder."""

from __future__ import annotations

import logging
import re
import traceback
from argparse import ArgumentError
from datetime import datetime
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import vocoder
from vocoder.data.corpora import CorpusError
from vocoder.memory import has_run_out
from vocoder.training.finite import DivergedError

log = logging.getLogger(__name__)

PACKAGE = Path(vocoder.__file__).parent
GO_ON = "Go on with `--ckpt_path last`."
NO_MEMORY = "A step needs more memory than there is: lower data.batch_size or data.segment_frames."
# What else is known to happen to runs, by what the error says of it, and what to do.
KNOWN: tuple[tuple[type[Exception], str, str], ...] = (
    (
        RuntimeError,
        r"DataLoader worker .*(killed|exited)|shared memory",
        f"A process that reads ahead has died, as when memory runs out: lower data.num_workers. {GO_ON}",
    ),
    (OSError, r"Errno 28\b", f"The disk is full: make room. Checkpoints that were written before are whole. {GO_ON}"),
    (ArgumentError, "", "`vocoder fit --help` lists the settings."),
)
EXPLAINED = (CorpusError, DivergedError, MisconfigurationException, OSError, ImportError)  # wherever they are raised
RULES = (ValueError, TypeError)  # where our code raises them: others' may be about anything


def describe(error: BaseException) -> str:
    """Say in a paragraph what went wrong, and what to do where that is known."""
    text, remedy = " ".join(_own_text(error).split()) or "it says no more", _remedy(error)
    if remedy is None and not is_foreseen(error):
        text, remedy = f"{type(error).__name__}: {text}", "`--debug` shows where it came from."
    return text if remedy is None else f"{text.rstrip('.')}. {remedy}"


def is_foreseen(error: BaseException) -> bool:
    """Say whether an error's text is all that there is to know; of others one wants to see where they came from."""
    if isinstance(error, EXPLAINED) or _remedy(error) is not None:
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, RULES) and bool(frames) and Path(frames[-1].filename).is_relative_to(PACKAGE)


def _remedy(error: BaseException) -> str | None:
    if has_run_out(error):
        return NO_MEMORY
    return next((do for kind, what, do in KNOWN if isinstance(error, kind) and re.search(what, str(error))), None)


def _own_text(error: BaseException) -> str:
    """Give an error's text without the traceback that torch puts before it when it comes from another process."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return re.split(rf"^[\w.]*{type(error).__name__}: ", text, flags=re.MULTILINE)[-1]


class KeptTraceback(Callback):
    """Writes the traceback of an error that nobody foresaw into the run's folder: it may have taken days to come to it.

    Args:
        path: The file, which is added to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep it, unless the run was asked to end."""
        if not isinstance(exception, Exception) or is_foreseen(exception):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}, step {trainer.global_step}, rank {trainer.global_rank}\n")
            file.writelines(traceback.format_exception(exception))
        log.error("The run has ended by an error that was not foreseen; %s says where.", self.path)
