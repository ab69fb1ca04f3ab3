"""The network, in the order of the paper's figure 4: input, gated residual layers, skip sum, output law.

Knows tensors only: no Lightning, no files, no plots. Generation sample by sample lives in `engines/`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.config import MelConfig, NetworkConfig
from vocoder.model.conditioning import ContextNet, Upsampling, pad_frames
from vocoder.model.distributions import MuLawCategorical, build_distribution
from vocoder.model.layers import GatedResidualLayer, operand_dtype
from vocoder.model.pitch import PitchLag, echo
from vocoder.model.prediction import LinearPredictor, predict


@dataclass(frozen=True)
class Conditioning:
    """What the mel and the speaker say, at frame rate; all that generation needs beside the weights.

    Attributes:
        context: (batch, frames + upsampling_taps - 1, conditioning_channels), to be interpolated to samples.
        coefficients: (batch, frames, order) of the linear predictor; order is 0 where the network uses none.
        scale: (batch, frames), expected size of the predictor's residual; 1 where there is no predictor.
        distance: (batch, frames), how many samples back the echo of the last pitch period lies; likewise.
        speaker: Embedding (batch, speaker_channels), or (batch, 0) where there is a single voice.
    """

    context: Tensor
    coefficients: Tensor
    scale: Tensor
    distance: Tensor
    speaker: Tensor

    @property
    def frames(self) -> int:
        """Frames that can be generated."""
        return self.scale.shape[1]

    def slice_frames(self, start: int, stop: int) -> Conditioning:
        """The part that frames start to stop depend on."""
        margin = self.context.shape[1] - self.frames
        return Conditioning(
            self.context[:, start : stop + margin],
            self.coefficients[:, start:stop],
            self.scale[:, start:stop],
            self.distance[:, start:stop],
            self.speaker,
        )

    def select(self, utterances: Tensor) -> Conditioning:
        """Some utterances of the batch, copied, by their indices."""
        return Conditioning(*(getattr(self, name)[utterances] for name in PARTS))

    @staticmethod
    def join(batches: Sequence[Conditioning]) -> Conditioning:
        """One batch of several with the same number of frames."""
        return Conditioning(*(torch.cat([getattr(one, name) for one in batches]) for name in PARTS))


PARTS = tuple(part.name for part in fields(Conditioning))


class WaveNet(nn.Module):
    """p(waveform[t] | waveform[< t], mel): van den Oord et al. 2016 (arXiv:1609.03499), eq. 1 to 3.

    Args:
        config: Size and shape.
        mel: The dialect of the mels it is conditioned on.
    """

    def __init__(self, config: NetworkConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.hop_length, self.sample_rate = config, mel.hop_length, mel.sample_rate
        self.distribution = build_distribution(config.distribution)
        layers = len(config.dilations)
        half = config.gate_channels // 2

        self.context_net = ContextNet(mel, config.conditioning_channels, config.context_frames)
        self.upsampling = Upsampling(mel.hop_length, config.upsampling_taps, mel.framing)
        speakers = config.num_speakers
        self.speaker_embedding = nn.Embedding(speakers, config.speaker_channels) if speakers else None
        order = config.linear_prediction_order
        self.predictor = LinearPredictor(mel, order) if order else None
        self.pitch_lag = PitchLag(mel) if order else None

        if self.distribution.is_continuous:
            self.input: nn.Module = nn.Linear(4 if order else 1, config.residual_channels)
        else:
            self.input = nn.Embedding(self.distribution.num_parameters, config.residual_channels)
        self.layers: Sequence[GatedResidualLayer] = nn.ModuleList(  # type: ignore[assignment]
            GatedResidualLayer(
                residual_channels=config.residual_channels,
                gate_channels=config.gate_channels,
                conditioning_channels=config.conditioning_channels + (config.speaker_channels if speakers else 0),
                kernel_size=config.kernel_size,
                dilation=dilation,
                residual_scale=config.residual_scale,
                is_last=index == layers - 1,
            )
            for index, dilation in enumerate(config.dilations)
        )
        # W_skip of all layers side by side: the sum over layers is one product of all their outputs.
        self.skip = nn.Linear(layers * half, config.skip_channels)
        self.skip_scale = math.sqrt(1 / layers) if config.skip_scale is None else config.skip_scale
        self.output_1 = nn.Linear(config.skip_channels, config.skip_channels)
        self.output_2 = nn.Linear(config.skip_channels, self.distribution.num_parameters)
        self._initialise()

    def _initialise(self) -> None:
        half = self.config.gate_channels // 2
        for layer in self.layers:
            if layer.residual is not None:
                nn.init.normal_(layer.residual.weight, std=(half * len(self.layers)) ** -0.5)
        nn.init.normal_(self.skip.weight, std=half**-0.5)
        nn.init.normal_(self.output_1.weight, std=(2 / self.config.skip_channels) ** 0.5)
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
    def receptive_field(self) -> int:
        """Past samples that one prediction sees."""
        return self.config.receptive_field

    @property
    def receptive_field_ms(self) -> float:
        """The same in milliseconds."""
        return 1000 * self.receptive_field / self.sample_rate

    def condition(self, mel: Tensor, speaker: Tensor | None = None, *, padded: bool = False) -> Conditioning:
        """Everything at frame rate, once per utterance.

        Args:
            mel: (batch, n_mels, frames), in the network's dialect.
            speaker: Index of each utterance's voice (batch,); needed if and only if the network has several.
            padded: The mel already holds `config.margin_frames` neighbouring frames on each side; otherwise the first
                and last frame are repeated.
        """
        margin = self.config.margin_frames
        if not padded:
            mel = pad_frames(mel, margin)
        own = mel[..., margin : mel.shape[-1] - margin]
        batch, _, frames = own.shape
        coefficients, scale = own.new_zeros(batch, frames, 0), own.new_ones(batch, frames)
        distance = torch.ones_like(scale, dtype=torch.long)
        if self.predictor is not None and self.pitch_lag is not None:
            coefficients, scale = self.predictor(own)
            distance = self.pitch_lag(own) - self.pitch_lag.lead
        embedding = own.new_zeros(batch, 0)
        if self.speaker_embedding is not None:
            assert speaker is not None, "a network with several voices needs `speaker`"
            embedding = self.speaker_embedding(speaker)
        return Conditioning(self.context_net(mel), coefficients, scale, distance, embedding)

    def forward(self, waveform: Tensor, conditioning: Conditioning, past: Tensor | None = None) -> Tensor:
        """Parameters of each sample's law given the true samples before it (teacher forcing).

        Args:
            waveform: (batch, frames · hop_length), in [-1, 1).
            conditioning: Of these frames.
            past: The `linear_prediction_order` samples before the first, zero where an utterance begins.

        Returns:
            (batch, time, num_parameters), float32: row t depends on samples before t only.
        """
        before = F.pad(waveform, (1, 0))[:, :-1]
        location, scale = torch.zeros_like(waveform), torch.ones_like(waveform)
        with torch.autocast(waveform.device.type, enabled=False):  # the waveform's own digits: float32 even here
            if self.predictor is not None:
                past = waveform.new_zeros(len(waveform), self.config.linear_prediction_order) if past is None else past
                before[:, 0] = past[:, -1]
                location = predict(torch.cat([past, waveform], dim=1), conditioning.coefficients, self.hop_length)
                scale = conditioning.scale.repeat_interleave(self.hop_length, dim=1)
            residual = (waveform - location) / scale
            period_ago = echo(residual, conditioning.distance.repeat_interleave(self.hop_length, dim=1))
            x = self.read(before, location, F.pad(residual, (1, 0))[:, :-1], period_ago)
        h = self.upsample(conditioning, operand_dtype(x))
        gates = []
        for layer in self.layers:
            x, z = layer(x, h)
            gates.append(z)
        return self.output(torch.cat(gates, dim=-1), location, scale)

    def read(self, before: Tensor, location: Tensor, residual: Tensor, period_ago: Tensor) -> Tensor:
        """What enters the first layer: the last sample, and what linear prediction has to say; all arguments (...).

        Args:
            before: The sample before the one to be predicted.
            location: Where linear prediction expects the next one.
            residual: How far off it was with the last one, in units of its expected size: white, of unit size, and so
                the clearest view of the past that there is. LPCNet reads the same three (Valin & Skoglund 2019).
            period_ago: The residual about one pitch period before; see `vocoder.model.pitch`.

        Returns:
            x (..., residual_channels).
        """
        if isinstance(self.distribution, MuLawCategorical):
            return self.input(self.distribution.encode(before))
        if self.predictor is None:
            return self.input(before.unsqueeze(-1))
        return self.input(torch.stack([before, location, torch.asinh(residual), torch.asinh(period_ago)], dim=-1))

    def upsample(self, conditioning: Conditioning, dtype: torch.dtype = torch.float32) -> Tensor:
        """h at sample rate, the speaker's embedding beside it: (batch, frames · hop_length, channels)."""
        h = self.upsampling(conditioning.context).to(dtype)
        speaker = conditioning.speaker.to(dtype).unsqueeze(1).expand(-1, h.shape[1], -1)
        return torch.cat([h, speaker], dim=-1) if speaker.shape[-1] else h

    def output(self, gates: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """All layers' z side by side (..., layers · half) to the parameters (..., num_parameters) of the law."""
        s = F.relu(self.skip(gates) * self.skip_scale)
        parameters = self.output_2(F.relu(self.output_1(s))).float()
        return self.distribution.place(parameters, location, scale) if self.predictor is not None else parameters
