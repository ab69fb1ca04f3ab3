"""From a mel to its waveform, with the options of one call: converted, conditioned, drawn, restored, corrected.

Whole utterances and streams go the same way; only what is whole can be cut and generated side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vocoder.config import MelConfig, VocoderConfig
from vocoder.features.frame_map import FrameMap, retime
from vocoder.inference.batching import Part, Progress, run_side_by_side
from vocoder.inference.conditioner import Conditioner, Convert, condition_whole
from vocoder.inference.correction import Correction
from vocoder.inference.deemphasis import Deemphasis
from vocoder.inference.folding import Fold, count_pieces, measure_power, scale_progress
from vocoder.inference.mel_checks import check_made
from vocoder.inference.sampler import Place, Sampler
from vocoder.model.wavenet import WaveNet

Finished = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Utterance:
    """An utterance that is there as a whole.

    Attributes:
        mel: The mel (1, bands, frames), bands first, as its dialect says.
        number: The number of the utterance, which with the seed makes its noise.
        voice: The index of the voice (1,), for networks of several.
    """

    mel: Tensor
    number: int
    voice: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """A plan of the parts to generate of an utterance, and of how they are put together.

    Attributes:
        mel: The mel (1, bands, frames), with the network's frame period and on its device.
        parts: The parts: one, or the pieces of a fold.
        join: The function that makes one waveform (time,) of the parts'.
    """

    mel: Tensor
    parts: list[Part]
    join: Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Pipeline:
    """The way from a mel to its waveform.

    Attributes:
        config: The model's config.
        sampler: The engine, seed and temperature.
        source: The dialect of the mels that come.
        convert: The conversion from it to the model's; None if it is the model's.
        voiced_temperature: The factor on the spread of the laws where the mel is voiced.
        correction_passes: The number of passes that bring the waveform's mel nearer to the given one.
    """

    config: VocoderConfig
    sampler: Sampler
    source: MelConfig
    convert: Convert | None
    voiced_temperature: float
    correction_passes: int

    @property
    def network(self) -> WaveNet:
        """The network that the engine runs."""
        return self.sampler.engine.network

    def frame_map(self) -> FrameMap:
        """Make the map from frames as they come to frames of the network's period."""
        return FrameMap(self.source, self.config.mel)

    def conditioner(self, voice: Tensor | None = None) -> Conditioner:
        """Make the conditioner of one utterance."""
        voice = None if voice is None else voice.to(self.sampler.device)
        return Conditioner(self.network, voice, self.convert, self.voiced_temperature)

    def deemphasis(self) -> Deemphasis:
        """Make what undoes the waveform's pre-emphasis and gain."""
        return Deemphasis(self.config.waveform)

    def correction(self) -> Correction:
        """Make the correction of one utterance."""
        return Correction(self.config.mel, self.correction_passes, self.convert)

    def run(
        self,
        utterances: Sequence[Utterance],
        *,
        fold: bool = False,
        progress: Progress | None = None,
        finished: Finished | None = None,
    ) -> list[Tensor]:
        """Make the waveforms (time,) of whole utterances, as many side by side as make best use of the machine.

        Args:
            utterances: The utterances.
            fold: Whether to cut what is long into pieces that run side by side; see `vocoder.inference.folding`.
            progress: A function that is called with numbers of samples that add up to those of the waveforms.
            finished: A function that is called with index and waveform of each utterance as it ends.
        """
        plans = [self._plan(utterance, fold) for utterance in utterances]
        parts = [part for plan in plans for part in plan.parts]
        owners = [index for index, plan in enumerate(plans) for _ in plan.parts]
        if progress is not None and parts:
            wanted = sum(plan.mel.shape[-1] for plan in plans)
            progress = scale_progress(progress, wanted, sum(part.frames for part in parts))
        made: list[dict[int, Tensor]] = [{} for _ in plans]
        waveforms = [torch.empty(0)] * len(plans)
        for number, waveform in run_side_by_side(self.sampler, parts, progress):
            index = owners[number]
            made[index][number] = waveform
            if len(made[index]) == len(plans[index].parts):
                waveforms[index] = self._finish(plans[index], [made[index].pop(part) for part in sorted(made[index])])
                if finished is not None:
                    finished(index, waveforms[index])
        return waveforms

    def _plan(self, utterance: Utterance, fold: bool) -> Plan:
        mel, conditioner = self._on_network(utterance.mel), self.conditioner(utterance.voice)
        frames = mel.shape[-1]
        if fold and count_pieces(self.network, frames) > 1:
            power = measure_power(mel if self.convert is None else self.convert(mel), self.config.mel)[0]
            folded = Fold.plan(self.network, condition_whole(conditioner, mel), power)
            return Plan(mel, folded.parts(utterance.number), folded.join)
        return Plan(mel, [Part(frames, Place(utterance.number, 0), conditioner.over(mel))], lambda whole: whole[0])

    def _on_network(self, mel: Tensor) -> Tensor:
        return retime(mel.to(self.sampler.device), self.source, self.config.mel)

    def _finish(self, plan: Plan, made: Sequence[Tensor]) -> Tensor:
        waveform = self.deemphasis()(check_made(plan.join(made)[None]))[0]
        return self.correction().whole(waveform, plan.mel)
