"""The network, in the order of the paper's figure 4: input, gated residual layers, skip sum, output law.

The dilated layers run once for each step of G = `samples_per_step` samples, the sample network after them once for each
sample. The layers take nearly all of the arithmetic, and what they add from one sample to the next is little: with
G = 8 a sample of `wavenet-64` takes a seventh of the multiply-adds, and the model is still exactly autoregressive.
SampleRNN (Mehri et al. 2017, arXiv:1612.07837) has such tiers. More than one sample per step needs linear prediction,
which carries the waveform on within a step. With G = 1 and no recent excitations this is the WaveNet of the paper.

Activations are (batch, steps, channels), so that a dilated convolution is one matrix product of its taps side by side.

Knows tensors only: no Lightning, no files, no plots. Generation sample by sample lives in `engines/`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.config import MelConfig, NetworkConfig, check_steps
from vocoder.model.conditioning import ContextNet, Upsampling, pad_frames
from vocoder.model.distributions import MuLawCategorical, build_distribution
from vocoder.model.layers import GatedResidualLayer, apply_side_by_side, operand_dtype
from vocoder.model.pitch_lag import PitchLag, echo
from vocoder.model.prediction import LinearPredictor, predict


@dataclass(frozen=True)
class Conditioning:
    """The conditioning by mel and speaker, at frame rate: all that generation needs beside the weights.

    Attributes:
        context: The context (batch, frames + upsampling_taps - 1, conditioning_channels), to be interpolated to steps.
        coefficients: The coefficients (batch, frames, order) of the linear predictor; order is 0 where the network uses
            none.
        scale: The expected size of the excitation (batch, frames); 1 where there is no predictor.
        lag: The number of samples by which the echo of the last pitch period lies back (batch, frames), at least
            `samples_per_step`; 1 where there is no predictor.
        reach: The bound on the location and the spread of each sample's law (batch, frames), in units of `scale`:
            `NetworkConfig.unvoiced_reach` where the mel holds no voice, else infinite.
        spread: The factor on the spread of each sample's law (batch, frames); 1 is the network's own law. A continuous
            law is as wide as its second number, so noise is multiplied by the factor before an engine sees it: every
            engine, stream and fold then gives the same bits.
        speaker: The embedding (batch, speaker_channels), or (batch, 0) where there is a single voice.
    """

    context: Tensor
    coefficients: Tensor
    scale: Tensor
    lag: Tensor
    reach: Tensor
    spread: Tensor
    speaker: Tensor

    @property
    def frames(self) -> int:
        """Frames that can be generated."""
        return self.scale.shape[1]

    def slice_frames(self, start: int, stop: int) -> Conditioning:
        """Give the part on which the frames from start to stop depend."""
        margin = self.context.shape[1] - self.frames
        by_frame = {name: getattr(self, name)[:, start:stop] for name in FRAME_PARTS}
        return Conditioning(self.context[:, start : stop + margin], **by_frame, speaker=self.speaker)

    def append(self, later: Conditioning) -> Conditioning:
        """Put the conditioning of the frames that follow behind this."""
        by_frame = {name: torch.cat([getattr(self, name), getattr(later, name)], dim=1) for name in FRAME_PARTS}
        context = torch.cat([self.context[:, : self.frames], later.context], dim=1)  # whose margin is the later one's
        return Conditioning(context, **by_frame, speaker=self.speaker)

    def select(self, utterances: Tensor) -> Conditioning:
        """Copy some utterances of the batch, chosen by their indices."""
        return Conditioning(*(getattr(self, name)[utterances] for name in PARTS))

    @staticmethod
    def join(batches: Sequence[Conditioning]) -> Conditioning:
        """One batch of several with the same number of frames."""
        return Conditioning(*(torch.cat([getattr(one, name) for one in batches]) for name in PARTS))


UNVOICED = 0.2  # the voicing below which laws are bounded: strangers' bursts all lay below 0.1

PARTS = tuple(part.name for part in fields(Conditioning))
FRAME_PARTS = ("coefficients", "scale", "lag", "reach", "spread")  # those of which each frame has its own


def count_weights(config: NetworkConfig, mel: MelConfig) -> int:
    """Say how many weights a network has, without making it: of any numbers, in integers without end."""
    gates, channels, layers = config.gate_channels, config.residual_channels, len(config.dilations)
    c, law, step = config.conditioning_channels, config.distribution, config.samples_per_step
    levels = 2**law.bits if law.name == "mu_law_categorical" else 0
    parameters, near = levels or 3 * law.num_components, config.recent_excitations
    inputs = 3 * step + 1 if config.linear_prediction_order else 1
    context = 2 * c * (mel.n_mels * (2 * config.context_frames + 1) + 1) + 2 * c * (2 * c + 1) + c * (2 * c + 1)
    upsampling = mel.hop_length // step * config.upsampling_taps
    entrance = levels * channels or (inputs + 1) * channels
    gated = layers * gates * (config.kernel_size * channels + c + config.embedding_channels + 1)
    residual = (layers - 1) * channels * (gates // 2 + 1)
    skip = config.skip_channels * (layers * gates // 2 + 1)
    places = step * config.sample_channels * (config.skip_channels + 1)
    law_of_sample = config.sample_channels * (near + 3 if near else 0) + parameters * (config.sample_channels + 1)
    table = config.num_speakers * config.embedding_channels
    return context + upsampling + table + entrance + gated + residual + skip + places + law_of_sample


class WaveNet(nn.Module):
    """p(waveform[t] | waveform[< t], mel): van den Oord et al. 2016 (arXiv:1609.03499), eq. 1 to 3.

    Args:
        config: The size and shape.
        mel: The dialect of the mels it is conditioned on.
    """

    def __init__(self, config: NetworkConfig, mel: MelConfig) -> None:
        super().__init__()
        check_steps(config, mel)
        self.config, self.hop_length, self.sample_rate = config, mel.hop_length, mel.sample_rate
        self.samples_per_step = config.samples_per_step
        self.distribution = build_distribution(config.distribution)

        # The mel, at frame rate.
        self.context_net = ContextNet(mel, config.conditioning_channels, config.context_frames)
        self.upsampling = Upsampling(mel.hop_length // config.samples_per_step, config.upsampling_taps, mel.framing)
        speakers = config.num_speakers
        self.speaker_embedding = nn.Embedding(speakers, config.speaker_channels) if speakers else None
        order = config.linear_prediction_order
        self.predictor = LinearPredictor(mel, order) if order else None
        self.pitch_lag = PitchLag(mel) if order else None
        if self.pitch_lag is not None:
            self.pitch_lag.check_step(config.samples_per_step)

        # The dilated layers, once for each step.
        self.input = self._build_input()
        self.layers: Sequence[GatedResidualLayer] = self._build_layers()
        # W_skip of all layers side by side: the sum over layers is one product of all their outputs.
        half, layers = config.gate_channels // 2, len(config.dilations)
        self.skip = nn.Linear(layers * half, config.skip_channels)
        self.skip_scale = math.sqrt(1 / layers) if config.skip_scale is None else config.skip_scale

        # The sample network, once for each sample: what the layers say to each place in the step, and what is near. One
        # layer: a second one, or a gated unit, changed the likelihood by less than 0.01 bit, PESQ by 0.04 to 0.12 (one
        # seed each).
        self.output_1 = nn.Linear(config.skip_channels, config.samples_per_step * config.sample_channels)
        near = config.recent_excitations
        self.recent = nn.Linear(near + 3, config.sample_channels, bias=False) if near else None
        self.output_2 = nn.Linear(config.sample_channels, self.distribution.num_parameters)
        self._initialise()

    def _build_input(self) -> nn.Module:
        if not self.distribution.is_continuous:
            return nn.Embedding(self.distribution.num_parameters, self.config.residual_channels)
        return nn.Linear(self.num_inputs, self.config.residual_channels)

    def _build_layers(self) -> Any:
        *dilations, last = self.config.dilations
        layers = [GatedResidualLayer(self.config, dilation) for dilation in dilations]
        return nn.ModuleList([*layers, GatedResidualLayer(self.config, last, is_last=True)])

    def _initialise(self) -> None:
        half = self.config.gate_channels // 2
        for layer in self.layers:
            if layer.residual is not None:
                nn.init.normal_(layer.residual.weight, std=(half * len(self.layers)) ** -0.5)
        nn.init.normal_(self.skip.weight, std=half**-0.5)
        nn.init.normal_(self.output_1.weight, std=(2 / self.config.skip_channels) ** 0.5)
        if self.recent is not None:
            nn.init.normal_(self.recent.weight, std=self.recent.in_features**-0.5)
        nn.init.normal_(self.output_2.weight, std=0.01)
        for linear in (self.skip, self.output_1, self.output_2):
            nn.init.zeros_(linear.bias)
        if self.distribution.is_continuous:
            # Components start as nested laws around the same place, from narrow to wide; alike, they would stay alike.
            components = self.distribution.num_parameters // 3
            widths = torch.linspace(-2.0, 1.0, components) if components > 1 else torch.zeros(1)
            without_prediction = math.log(0.1) if self.predictor is None else 0.0
            with torch.no_grad():
                self.output_2.bias[2 * components :] = widths + without_prediction

    @property
    def num_inputs(self) -> int:
        """Numbers that the first layer reads for a step; 0 for mu-law levels, which are looked up."""
        if not self.distribution.is_continuous:
            return 0
        # The last step's samples and excitations and this one's echoes, and the prediction of its first sample.
        return 3 * self.samples_per_step + 1 if self.predictor is not None else 1

    @property
    def history_length(self) -> int:
        """Past samples that a step reads as they are: those of the step before, and those of the linear predictor."""
        return max(self.config.linear_prediction_order, self.samples_per_step)

    @property
    def excitation_length(self) -> int:
        """Past excitations that a step reads as they are: for the longest echo, or those most recent."""
        longest = 1 if self.pitch_lag is None else self.pitch_lag.longest
        return max(longest, self.samples_per_step, self.config.recent_excitations)

    @property
    def past_length(self) -> int:
        """Past samples on which one sample's law depends directly.

        The receptive field of the layers, before it the longest echo, and before that what the linear predictor reads.
        """
        lag = 0 if self.pitch_lag is None else self.pitch_lag.longest
        return self.receptive_field + lag + self.config.linear_prediction_order

    @property
    def receptive_field(self) -> int:
        """Past samples that one prediction sees."""
        return self.config.receptive_field

    @property
    def receptive_field_ms(self) -> float:
        """The same in milliseconds."""
        return 1000 * self.receptive_field / self.sample_rate

    def condition(
        self,
        mel: Tensor,
        speaker: Tensor | None = None,
        *,
        padded: bool = False,
        voiced_temperature: float = 1.0,
    ) -> Conditioning:
        """Everything at frame rate, once per utterance.

        Args:
            mel: The mel (batch, n_mels, frames), in the network's dialect.
            speaker: The index of each utterance's voice (batch,); needed if and only if the network has several.
            padded: The mel already holds `config.margin_frames` neighbouring frames on each side; otherwise the first
                and last frame are repeated.
            voiced_temperature: The factor on the spread of the laws where the mel is voiced; see `SamplingConfig`.
        """
        margin = self.config.margin_frames
        if not padded:
            mel = pad_frames(mel, margin)
        own = mel[..., margin : mel.shape[-1] - margin]
        batch, _, frames = own.shape
        coefficients, scale = own.new_zeros(batch, frames, 0), own.new_ones(batch, frames)
        lag, spread = torch.ones_like(scale, dtype=torch.long), torch.ones_like(scale)
        reach = torch.full_like(scale, math.inf)
        if self.predictor is not None and self.pitch_lag is not None:
            coefficients, scale = self.predictor(own)
            lag, voicing = self.pitch_lag(own)
            spread = 1 - (1 - voiced_temperature) * voicing
            if self.config.unvoiced_reach is not None:
                reach = reach.masked_fill(voicing < UNVOICED, self.config.unvoiced_reach)
        embedding = own.new_zeros(batch, 0)
        if self.speaker_embedding is not None:
            assert speaker is not None, "a network with several voices needs `speaker`"
            embedding = self.speaker_embedding(speaker)
        return Conditioning(self.context_net(mel), coefficients, scale, lag, reach, spread, embedding)

    def forward(self, waveform: Tensor, conditioning: Conditioning, past: Tensor | None = None) -> Tensor:
        """Give the parameters of each sample's law, given the true samples before it (teacher forcing).

        Args:
            waveform: The true samples (batch, frames · hop_length), in [-1, 1).
            conditioning: The conditioning of these frames.
            past: The `history_length` samples before the first, zero where an utterance begins.

        Returns:
            The parameters (batch, time, num_parameters), float32: row t depends on samples before t only.
        """
        step, near, (batch, time) = self.samples_per_step, self.config.recent_excitations, waveform.shape
        with torch.autocast(waveform.device.type, enabled=False):  # the waveform's own digits: float32 even here
            past = waveform.new_zeros(batch, self.history_length) if past is None else past
            location, scale = self.predict(waveform, conditioning, past)
            excitation = self.excite(waveform, location, scale)
            echoes = echo(excitation, conditioning.lag.repeat_interleave(self.hop_length, dim=1))
            known, heard = torch.cat([past, waveform], dim=1), F.pad(excitation, (max(step, near), 0))
            x = self.read(
                known[:, -time - step : -step].unflatten(1, (-1, step)),
                location[:, ::step],
                heard[:, -time - step : -step].unflatten(1, (-1, step)),
                echoes.unflatten(1, (-1, step)),
            )
        h = self.upsample(conditioning, operand_dtype(x))
        gates = []
        for layer in self.layers:
            x, z = layer(x, h)
            gates.append(z)
        places = self.places(torch.cat(gates, dim=-1)).flatten(1, 2)
        recent = heard[:, heard.shape[1] - time - near : -1].unfold(1, near, 1)
        beside = torch.stack([known[:, -time - 1 : -1], location, echoes], dim=-1)
        return self.law(places, recent, beside, scale, conditioning.reach.repeat_interleave(self.hop_length, dim=1))

    def predict(self, waveform: Tensor, conditioning: Conditioning, past: Tensor) -> tuple[Tensor, Tensor]:
        """Say where linear prediction expects each sample, and how far off it expects to be: both (batch, time)."""
        if self.predictor is None:
            return torch.zeros_like(waveform), torch.ones_like(waveform)
        order = self.config.linear_prediction_order
        location = predict(torch.cat([past[:, -order:], waveform], dim=1), conditioning.coefficients, self.hop_length)
        return location, conditioning.scale.repeat_interleave(self.hop_length, dim=1)

    def excite(self, waveform: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Give what linear prediction left of samples, in units of its expected size, as the network reads it (...).

        White, of unit size whatever the loudness, and so the clearest view of the past that there is. The logarithm in
        asinh takes the force out of the rare large ones.
        """
        return torch.asinh((waveform - location) / scale)

    def read(self, before: Tensor, location: Tensor, excitation: Tensor, echoes: Tensor) -> Tensor:
        """Make what the first layer reads for a step of G samples; LPCNet (Valin & Skoglund 2019) reads three of these.

        Args:
            before: The samples (..., G) of the step before.
            location: The linear prediction of the first sample of the step (...).
            excitation: The excitation: what it left of the step before (..., G).
            echoes: The excitation about one pitch period before each sample of the step (..., G); see
                `vocoder.model.pitch_lag`.

        Returns:
            The layers' input x (..., residual_channels).
        """
        if isinstance(self.distribution, MuLawCategorical):
            return self.input(self.distribution.encode(before[..., 0]))
        assert isinstance(self.input, nn.Linear)
        inputs = [before] if self.predictor is None else [before, location.unsqueeze(-1), excitation, echoes]
        return apply_side_by_side(self.input, inputs)

    def upsample(self, conditioning: Conditioning, dtype: torch.dtype = torch.float32) -> Tensor:
        """Give h of each step, the speaker's embedding beside it: (batch, frames · hop_length / G, channels)."""
        h = self.upsampling(conditioning.context).to(dtype)
        speaker = conditioning.speaker.to(dtype).unsqueeze(1).expand(-1, h.shape[1], -1)
        return torch.cat([h, speaker], dim=-1) if speaker.shape[-1] else h

    def places(self, gates: Tensor) -> Tensor:
        """Give what the layers say to each sample of a step: (..., layers · half) → (..., G, sample_channels)."""
        s = F.relu(self.skip(gates) * self.skip_scale)
        return self.output_1(s).unflatten(-1, (self.samples_per_step, -1))

    def law(self, places: Tensor, recent: Tensor, beside: Tensor, scale: Tensor, reach: Tensor) -> Tensor:
        """Run the sample network; give the parameters (..., num_parameters) of each sample's law, float32.

        Args:
            places: The layers' output for the sample (..., sample_channels).
            recent: The excitation of those just before it (..., recent_excitations), the oldest first.
            beside: The sample before it, its linear prediction, and the excitation about one pitch period before it
                (..., 3).
            scale: The expected error of linear prediction (...).
            reach: The bound on the law's location and spread (...), in units of the scale.
        """
        y = places
        if self.recent is not None:
            with torch.autocast(places.device.type, enabled=False):  # the waveform's own digits, as in `forward`
                y = y + apply_side_by_side(self.recent, [recent, beside])
        parameters = self.output_2(F.relu(y)).float()
        if self.predictor is None:
            return parameters
        return self.distribution.place(parameters, beside[..., 1], scale, reach)
