"""Waveforms of large sets of mels, shared out among processes and machines by Lightning's `Trainer.predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vocoder.features.audio import Bits, save_audio
from vocoder.inference.vocoder import Vocoder


class SourceFile(NamedTuple):
    """One file of a set, as it is read: its mel, or why there is nothing to make of it.

    Attributes:
        source: The file.
        mel: The mel, of the dialect that was asked for; None if there is nothing to make.
        problem: The reason why it cannot be read; None if it can, or if its waveform is there already.
    """

    source: Path
    mel: Tensor | None = None
    problem: str | None = None


class SourceFiles(Dataset[SourceFile]):
    """The files of a set in order, each read when its turn comes; one whose waveform is there is not.

    So all processes share out the same list, however far an earlier start has come.

    Args:
        outputs: The waveform's file of each source.
        read: The function that reads a source's mel; it may raise `OSError` or `ValueError`.
    """

    def __init__(self, outputs: Mapping[Path, Path], read: Callable[[Path], Tensor]) -> None:
        self.sources, self.outputs, self.read = list(outputs), outputs, read

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> SourceFile:
        source = self.sources[index]
        if self.outputs[source].exists():
            return SourceFile(source)
        try:
            return SourceFile(source, self.read(source))
        except (OSError, ValueError) as error:
            return SourceFile(source, problem=str(error))


class Synthesis(LightningModule):
    """A voice, as Lightning calls it: each batch of files becomes waveforms, made side by side.

    Args:
        voice: The voice.
        options: The options of `Vocoder.infer_many`, beside mels.
    """

    def __init__(self, voice: Vocoder, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.voice, self.options = voice, options

    def on_predict_start(self) -> None:
        """Move to the process' own device."""
        self.voice = self.voice.to(self.device)

    def predict_step(self, batch: list[SourceFile], batch_idx: int) -> dict[Path, Tensor]:
        """Make the waveforms (time,) of a batch, by source; each as `vocoder infer` makes it, whatever is beside it."""
        mels = {piece.source: piece.mel for piece in batch if piece.mel is not None}
        if not mels:
            return {}
        waveforms = self.voice.infer_many(mels.values(), utterance=[0] * len(mels), **self.options)
        return dict(zip(mels, waveforms, strict=True))


@dataclass(eq=False)
class Waveforms(BasePredictionWriter):
    """Writes each waveform into its file, which appears whole or not at all, and keeps count over all processes.

    Attributes:
        outputs: The waveform's file of each source.
        bits: The bits of a sample; see `save_audio`.
        made: The number of waveforms written.
        first: Whether this is the first process, which speaks for all.
        problems: The reasons why the others could not be, by source.
    """

    outputs: Mapping[Path, Path]
    bits: Bits | None = None
    made: int = 0
    first: bool = True
    problems: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__("batch")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: dict[Path, Tensor],
        batch_indices: Sequence[int] | None,
        batch: list[SourceFile],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write what a batch has become."""
        assert isinstance(pl_module, Synthesis)
        for source, waveform in prediction.items():
            save_audio(self.outputs[source], waveform.cpu(), pl_module.voice.sample_rate, self.bits)
        self.made += len(prediction)
        self.problems.update({piece.source: piece.problem for piece in batch if piece.problem is not None})

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put together what all processes have done: here each still waits for the others."""
        self.first = trainer.is_global_zero
        if trainer.world_size == 1:
            return
        all_of_them: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(all_of_them, (self.made, self.problems))
        self.made = sum(made for made, _ in all_of_them)
        self.problems = {source: problem for _, problems in all_of_them for source, problem in problems.items()}


@dataclass(frozen=True)
class Processes:
    """The processes among which a set is shared out.

    Attributes:
        devices: The number of processes on each machine.
        nodes: The number of machines.
        accelerator: The kind of device to generate on; see Lightning's `Trainer`.
    """

    devices: int = 1
    nodes: int = 1
    accelerator: str = "cpu"


def predict(
    synthesis: Synthesis,
    waveforms: Waveforms,
    read: Callable[[Path], Tensor],
    *,
    batch_size: int,
    processes: Processes = Processes(),
) -> Waveforms:
    """Make the waveforms of a set of files; those that are there already are left alone.

    Args:
        synthesis: The voice and its options.
        waveforms: The files to write, whose folders exist.
        read: The function that reads a source's mel. What it refuses by `OSError` or `ValueError` is left out, and said
            in the end.
        batch_size: The number of files made side by side in each process.
        processes: The processes that share the work.

    Returns:
        `waveforms`, with the result of all processes together, known in each.

    Raises:
        ValueError: There are fewer files than processes.
    """
    count = processes.devices * processes.nodes
    if len(waveforms.outputs) < count:
        raise ValueError(
            f"Each process needs a file, but there are {len(waveforms.outputs)} for {count} processes. Ask for fewer: "
            "--devices, --nodes."
        )
    trainer = Trainer(
        accelerator=processes.accelerator,
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy="ddp" if count > 1 else "auto",
        callbacks=[waveforms],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    loader = DataLoader(SourceFiles(waveforms.outputs, read), batch_size=batch_size, collate_fn=list)
    trainer.predict(synthesis, loader, return_predictions=False)
    return waveforms
