"""The LightningModule: a WaveNet, its likelihood on real speech, and how it is optimised. No audio files, no plots."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import grad_norm
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from vocoder.config import MelConfig, NetworkConfig, from_dict, to_dict
from vocoder.features.design import describe_rank, filterbank_rank
from vocoder.features.mel import LogMelSpectrogram
from vocoder.formats import FORMAT_VERSION, upgrade
from vocoder.model.wavenet import Conditioning, WaveNet

Batch = dict[str, Tensor]
log = logging.getLogger(__name__)


class VocoderModule(LightningModule):
    """Maximum likelihood training of a WaveNet.

    A batch has `waveform` (batch, margin + time + margin), `mask` (batch, time), `span` (batch, 2) and, for several
    voices, `speaker` (batch,); see `vocoder.data.segments.Cut`. Mels are computed here, on the training device.

    Args:
        mel: The dialect to train on; a plain dict when a checkpoint is loaded.
        network: Size and shape; likewise.
        learning_rate: At its peak.
        warmup_steps: Steps of linear rise to the peak; from there it falls linearly to zero at the trainer's last step.
        weight_decay: Of matrices; not of biases, nor of the upsampling kernel, which interpolates.
    """

    def __init__(
        self,
        mel: MelConfig = MelConfig(),
        network: NetworkConfig = NetworkConfig(),
        learning_rate: float = 2e-3,
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__()
        if isinstance(network, dict) and "samples_per_step" not in network:  # a checkpoint of format 1
            values = upgrade({"mel": mel if isinstance(mel, dict) else to_dict(mel), "network": network}, version=1)
            mel, network = values["mel"], values["network"]
        mel = from_dict(MelConfig, mel) if isinstance(mel, dict) else mel
        network = from_dict(NetworkConfig, network) if isinstance(network, dict) else network
        # Plain dicts: a checkpoint then loads with weights_only=True and without arguments.
        self.save_hyperparameters(
            {
                "mel": to_dict(mel),
                "network": to_dict(network),
                "learning_rate": learning_rate,
                "warmup_steps": warmup_steps,
                "weight_decay": weight_decay,
            }
        )
        self.mel_config = mel
        # A dialect's layout is that of the mels that come and go; inside, bands are first.
        self.log_mel = LogMelSpectrogram(dataclasses.replace(mel, layout="bands_first"))
        self.network = WaveNet(network, mel)
        left, right = self.log_mel.padding
        self.margin_frames = network.margin_frames
        reach = network.margin_frames * mel.hop_length
        self.margin = (reach + left, reach + right)

    def condition(self, batch: Batch) -> Conditioning:
        """What the mel of a batch says; beyond an utterance's ends its first and last frame repeat, as in inference."""
        mel = self.log_mel(batch["waveform"], padded=True)
        frames = batch["mask"].shape[1] // self.mel_config.hop_length + 2 * self.margin_frames
        span = batch["span"] + self.margin_frames
        inside = torch.arange(frames, device=mel.device).clamp(span[:, :1], span[:, 1:] - 1)
        mel = mel.take_along_dim(inside.unsqueeze(1), dim=2)
        return self.network.condition(mel, batch.get("speaker"), padded=True)

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The samples to predict (batch, time), and those just before for the predictor: 0 before an utterance."""
        begin, time, order = self.margin[0], batch["mask"].shape[1], self.network.config.linear_prediction_order
        waveform, first = batch["waveform"], batch["span"][:, :1] * self.mel_config.hop_length
        past = waveform[:, begin - order : begin] * (torch.arange(-order, 0, device=waveform.device) >= first)
        return waveform[:, begin : begin + time], past

    def nll(self, batch: Batch) -> Tensor:
        """Mean negative log-likelihood of the samples with audio, in nats per sample."""
        waveform, past = self.target(batch)
        parameters = self.network(waveform, self.condition(batch), past)
        log_prob = self.network.distribution.log_prob(parameters, waveform)
        mask = batch["mask"]
        return -(log_prob * mask).sum() / mask.sum()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in which format mel and network are written; see `vocoder.formats`."""
        checkpoint["format_version"] = FORMAT_VERSION

    def on_fit_start(self) -> None:
        """Say what is trained."""
        count, network = sum(p.numel() for p in self.network.parameters()), self.network
        sight = f"{network.receptive_field} samples ({network.receptive_field_ms:.0f} ms)"
        log.info("WaveNet with %.2f M parameters, which sees %s back.", count / 1e6, sight)
        if filterbank_rank(self.mel_config) < self.mel_config.n_mels:
            log.warning("The mel is poorer than it looks: %s.", describe_rank(self.mel_config))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step's loss."""
        nll = self.nll(batch)
        self.log_dict({"train/nll": nll.detach(), "train/nll_bits": nll.detach() / math.log(2)})
        self.log("nll_bits", nll.detach() / math.log(2), prog_bar=True, logger=False)
        return nll

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Likelihood of a held-out utterance, each sample counting the same."""
        self._held_out(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Likelihood of a test utterance."""
        self._held_out(batch, "test")

    def _held_out(self, batch: Batch, stage: str) -> None:
        nll, samples = self.nll(batch), int(batch["mask"].sum())
        self.log(f"{stage}/nll", nll, batch_size=samples, sync_dist=True)
        self.log(f"{stage}/nll_bits", nll / math.log(2), batch_size=samples, sync_dist=True, prog_bar=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient's norm before clipping."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.trainer.global_step + 1) % every == 0:
            self.log("train/gradient_norm", grad_norm(self.network, norm_type=2)["grad_2.0_norm_total"])

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up and linear decay to zero over the trainer's steps.

        Raises:
            ValueError: The trainer has no `max_steps`.
        """
        total, warmup = self.trainer.max_steps, max(1, self.hparams["warmup_steps"])
        if total < 1:
            raise ValueError(
                f"The learning rate falls to zero at a run's last step, so a run needs their number, but "
                f"trainer.max_steps is {total}. Set `--trainer.max_steps`."
            )
        parameters = list(self.network.parameters())
        decays = [p for p in parameters if p.ndim > 1 and p is not self.network.upsampling.kernel]
        keeps = [p for p in parameters if p.ndim <= 1 or p is self.network.upsampling.kernel]
        groups = [
            {"params": decays, "weight_decay": self.hparams["weight_decay"]},
            {"params": keeps, "weight_decay": 0.0},
        ]
        optimizer = AdamW(groups, lr=self.hparams["learning_rate"], betas=(0.9, 0.99))

        def factor(step: int) -> float:
            return min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))

        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}
