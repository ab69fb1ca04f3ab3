"""The LightningModule: a WaveNet, its likelihood on real speech, and how it is optimised. No audio files, no plots."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import grad_norm
from torch import Tensor

from vocoder.bundles.bundle import some
from vocoder.config import MelConfig, NetworkConfig, check_names, from_dict, to_dict
from vocoder.engines.cpu.rollout import check_rollout
from vocoder.features.design import describe_rank, filterbank_rank
from vocoder.features.mel import LogMelSpectrogram
from vocoder.formats import FORMAT_VERSION, upgrade
from vocoder.model.wavenet import Conditioning, WaveNet
from vocoder.training.free_running import free_running_score
from vocoder.training.optimizer import Group, MuonAdamW
from vocoder.training.schedule import rate_factor

Batch = dict[str, Tensor]
log = logging.getLogger(__name__)

BY_MUON = ("layers", "skip", "output_1", "output_2")  # parts of the network whose matrices Muon steps


class VocoderModule(LightningModule):
    """Maximum likelihood training of a WaveNet.

    A batch has `waveform` (batch, margin + time + margin), `mask` (batch, time), `span` (batch, 2) and, for several
    voices, `speaker` (batch,); see `SegmentCutter`. Segments to train on have a `seed` (batch,) each, on
    the CPU, from which their noise follows. Mels are computed here, on the training device, unless a batch has them:
    `mel` (batch, n_mels, margin_frames + frames + margin_frames).

    Args:
        mel: The dialect to train on; a plain dict when a checkpoint is loaded.
        network: The network's size and shape; a plain dict when a checkpoint is loaded.
        learning_rate: The peak of AdamW's learning rate; AdamW steps all that Muon does not.
        muon_learning_rate: The peak of Muon's learning rate; Muon steps the matrices from the dilated layers on.
        warmup_steps: The steps of linear rise to the peaks.
        decay_steps: The steps of linear fall to zero at the trainer's last step; 0 for a constant rate.
        weight_decay: The share of matrices that a step of rate 1 would take off; biases and the upsampling kernel,
            which interpolates, stay.
        past_noise: The largest level of the noise on the past that the network reads while it trains, in units of the
            expected excitation. So it learns to go on from its own imperfect samples as it must when
            it generates (Valin & Skoglund 2019, "LPCNet", section 3.3). None for 0.2, or 0 without linear prediction.
        free_running: The weight of the score of free copies beside the likelihood in nats; 0 for likelihood alone. See
            `vocoder.training.free_running`.
        speakers: The names of the voices, for several: the index that a batch gives is a place among them. They make
            the network's speaker table (linked to the data by `vocoder fit`, where `--data.speakers true` asks for it).

    Raises:
        ValueError: There shall be noise on the past, but no linear prediction; or free copies of a network that cannot
            be followed back in time.
    """

    def __init__(
        self,
        mel: MelConfig = MelConfig(),
        network: NetworkConfig = NetworkConfig(),
        learning_rate: float = 2e-3,
        muon_learning_rate: float = 0.02,
        warmup_steps: int = 200,
        decay_steps: int = 0,
        weight_decay: float = 0.01,
        past_noise: float | None = None,
        free_running: float = 0.0,
        speakers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if isinstance(network, dict):  # a checkpoint's
            version = 2 if "samples_per_step" in network else 1
            values = upgrade({"mel": mel if isinstance(mel, dict) else to_dict(mel), "network": network}, version)
            mel, network = values["mel"], values["network"]
        mel = from_dict(MelConfig, mel) if isinstance(mel, dict) else mel
        network = from_dict(NetworkConfig, network) if isinstance(network, dict) else network
        speakers = check_names(speakers)
        network = _with_speakers(network, speakers)
        past_noise = (0.2 if network.linear_prediction_order else 0.0) if past_noise is None else past_noise
        # Plain dicts: a checkpoint then loads with weights_only=True and without arguments.
        self.save_hyperparameters(
            {
                "mel": to_dict(mel),
                "network": to_dict(network),
                "learning_rate": learning_rate,
                "muon_learning_rate": muon_learning_rate,
                "warmup_steps": warmup_steps,
                "decay_steps": decay_steps,
                "weight_decay": weight_decay,
                "past_noise": past_noise,
                "free_running": free_running,
                "speakers": list(speakers),
            }
        )
        if past_noise and not network.linear_prediction_order:
            raise ValueError(
                f"Noise on the past is measured in units of the expected excitation, but model.past_noise is "
                f"{past_noise} and network.linear_prediction_order is 0. Set `--model.past_noise 0`."
            )
        if free_running:
            check_rollout(network)
        self.mel_config, self.speakers = mel, speakers
        # A dialect's layout is that of the mels that come and go; inside, bands are first.
        self.log_mel = LogMelSpectrogram(dataclasses.replace(mel, layout="bands_first"))
        self.network = WaveNet(network, mel)
        left, right = self.log_mel.padding
        self.margin_frames = network.margin_frames
        reach = network.margin_frames * mel.hop_length
        self.margin = (reach + left, reach + right)

    def condition(self, batch: Batch) -> Conditioning:
        """Give a batch's conditioning; beyond an utterance's ends its first and last frame repeat, as in inference."""
        mel = batch["mel"] if "mel" in batch else self.log_mel(batch["waveform"], padded=True)
        frames = batch["mask"].shape[1] // self.mel_config.hop_length + 2 * self.margin_frames
        span = batch["span"] + self.margin_frames
        inside = torch.arange(frames, device=mel.device).clamp(span[:, :1], span[:, 1:] - 1)
        mel = mel.take_along_dim(inside.unsqueeze(1), dim=2)
        return self.network.condition(mel, batch.get("speaker"), padded=True)

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the samples to predict (batch, time), and those just before the first: 0 before an utterance."""
        begin, time, history = self.margin[0], batch["mask"].shape[1], self.network.history_length
        waveform, first = batch["waveform"], batch["span"][:, :1] * self.mel_config.hop_length
        past = waveform[:, begin - history : begin] * (torch.arange(-history, 0, device=waveform.device) >= first)
        return waveform[:, begin : begin + time], past

    def nll(self, batch: Batch, past_noise: float = 0.0, conditioning: Conditioning | None = None) -> Tensor:
        """Give the mean negative log-likelihood of the samples with audio, in nats per sample.

        Args:
            batch: The segments.
            past_noise: The largest level of noise on what the network reads; what it shall predict stays clean.
            conditioning: The segments' conditioning, if it is known already.
        """
        waveform, past = self.target(batch)
        conditioning = self.condition(batch) if conditioning is None else conditioning
        seen, seen_past = waveform, past
        if past_noise:
            scale = conditioning.scale.repeat_interleave(self.mel_config.hop_length, dim=1)
            scale = torch.cat([scale[:, :1].expand_as(past), scale], dim=1)
            noise = scale * past_noise * draw_past_noise(batch["seed"], scale.shape[1], scale.device)
            noise_before, noise = noise[:, : past.shape[1]], noise[:, past.shape[1] :]
            seen_past, seen = past + noise_before * (past != 0), waveform + noise  # no noise before an utterance
        parameters = self.network(seen, conditioning, seen_past)
        log_prob = self.network.distribution.log_prob(parameters, waveform)
        mask = batch["mask"]
        return -(log_prob * mask).sum() / mask.sum()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with a run of another format, or of other voices.

        Raises:
            ValueError: The checkpoint's format is another version's, or its speaker table another one.
        """
        if self._trainer is None or self.trainer.state.fn != "fit":
            return
        check_same_speakers(checkpoint["hyper_parameters"].get("speakers", ()), self.speakers)
        version = checkpoint.get("format_version", 1)
        if version == FORMAT_VERSION:
            return
        remedy = "Take its weights: `--run.start_from CHECKPOINT`" if version < FORMAT_VERSION else "Upgrade vocoder"
        rule = f"A run goes on from a checkpoint of format_version {FORMAT_VERSION}"
        raise ValueError(f"{rule}, but this one has {version}. {remedy}.")

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
        """Give the loss of one step."""
        conditioning, weight = self.condition(batch), self.hparams["free_running"]
        nll = self.nll(batch, self.hparams["past_noise"], conditioning)
        self.log_dict({"train/nll": nll.detach(), "train/nll_bits": nll.detach() / math.log(2)})
        self.log("nll_bits", nll.detach() / math.log(2), prog_bar=True, logger=False)
        if not weight:
            return nll
        waveform, _ = self.target(batch)
        score = free_running_score(self.network, conditioning, waveform, batch["mask"], batch["seed"])
        self.log("train/free_running", score.detach())
        return nll + weight * score

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the likelihood of a held-out utterance, in which each sample counts the same."""
        self._held_out(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the likelihood of a test utterance."""
        self._held_out(batch, "test")

    def _held_out(self, batch: Batch, stage: str) -> None:
        nll, samples = self.nll(batch), int(batch["mask"].sum())
        self.log(f"{stage}/nll", nll, batch_size=samples, sync_dist=True)
        self.log(f"{stage}/nll_bits", nll / math.log(2), batch_size=samples, sync_dist=True, prog_bar=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient's norm before clipping; a step that is left out has none."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        norms = grad_norm(self.network, norm_type=2) if every and (self.trainer.global_step + 1) % every == 0 else {}
        if norms:
            self.log("train/gradient_norm", norms["grad_2.0_norm_total"])

    def configure_optimizers(self) -> MuonAdamW:
        """Give the optimizer: Muon for the matrices from the dilated layers on, AdamW for the rest.

        Raises:
            ValueError: The learning rate shall fall to zero at the end of a run that has none.
        """
        decay_steps, total = self.hparams["decay_steps"], self.trainer.max_steps
        if decay_steps and total < 1:
            raise ValueError(
                f"The learning rate falls to zero over a run's last steps, so a run needs an end, but "
                f"model.decay_steps is {decay_steps} and trainer.max_steps {total}. Set `--trainer.max_steps`, or "
                "`--model.decay_steps 0`, or branch off from a running one with `--run.decay_from`."
            )
        # A run in float32 is for CPUs that have no instructions for bfloat16.
        dtype = torch.bfloat16 if "bf16" in str(self.trainer.precision) else torch.float32
        return MuonAdamW(parameter_groups(self.network, self.hparams["weight_decay"]), dtype)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rates: by the step alone, so that a run goes on as if it had never stopped."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, MuonAdamW)
        total, hparams = self.trainer.max_steps, self.hparams
        factor = rate_factor(
            self.trainer.global_step,
            warmup_steps=hparams["warmup_steps"],
            decay_steps=hparams["decay_steps"],
            end=total if total > 0 else None,
        )
        rates = {"AdamW": factor * hparams["learning_rate"], "Muon": factor * hparams["muon_learning_rate"]}
        for group in optimizer.param_groups:
            group["lr"] = rates["Muon" if group["muon"] else "AdamW"]
        self.log_dict({f"lr-{name}": rate for name, rate in rates.items()})


def _with_speakers(network: NetworkConfig, speakers: tuple[str, ...]) -> NetworkConfig:
    """Give the network a table of as many voices as there are names."""
    if speakers and network.num_speakers not in (0, len(speakers)):
        raise ValueError(
            f"The number of voices follows from their names, of which there are {len(speakers)}, but "
            f"network.num_speakers is {network.num_speakers}. Leave it out."
        )
    return dataclasses.replace(network, num_speakers=len(speakers) or network.num_speakers)


def check_same_speakers(theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Refuse to go on with another speaker table: a row of it would become another voice's.

    Raises:
        ValueError: The table of the checkpoint or the model (`theirs`) is not that of the recipe and its data (`ours`).
    """
    if tuple(theirs) == tuple(ours):
        return
    gone, new = (some([name for name in one if name not in other]) for one, other in ((theirs, ours), (ours, theirs)))
    changes = " and ".join(f"{verb} {names}" for verb, names in (("lacks", gone), ("adds", new)) if names)
    raise ValueError(
        f"A model goes on with the speakers that it has ({len(theirs)}), but the recipe's table of {len(ours)} "
        f"{changes or 'has another order'}. Give the data that it was trained on, with "
        f"`--data.speakers {str(bool(theirs)).lower()}`, or begin anew."
    )


def widen(weights: Mapping[str, Tensor], network: WaveNet) -> dict[str, Tensor]:
    """Give the weights of a single voice to a network of several speakers, each of whom has that voice at first.

    What reads a speaker's embedding reads the mel in its first columns (`WaveNet.condition`); the others are zero.

    Args:
        weights: The weights of the single voice, or of a network like this one, which are left as they are.
        network: The network of several, whose own embedding is kept.
    """
    own = network.state_dict()
    wide = {
        key: F.pad(value, (0, own[key].shape[-1] - value.shape[-1])) for key, value in weights.items() if value.ndim
    }
    return {**own, **weights, **wide}


def parameter_groups(network: WaveNet, weight_decay: float) -> list[Group]:
    """Say how each weight is stepped: matrices from the dilated layers on by Muon; biases and the kernel undecayed."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        by_muon = parameter.ndim == 2 and name.split(".")[0] in BY_MUON
        shrinks = parameter.ndim > 1 and parameter is not network.upsampling.kernel
        groups.setdefault((by_muon, shrinks), []).append(parameter)
    return [
        {"params": parameters, "muon": by_muon, "weight_decay": weight_decay if shrinks else 0.0}
        for (by_muon, shrinks), parameters in groups.items()
    ]


def draw_past_noise(seeds: Tensor, length: int, device: torch.device) -> Tensor:
    """Draw Gaussian noise for each segment, at a level of its own from 0 to 1: (batch, length), float32.

    Args:
        seeds: A seed for each segment (batch,), on the CPU: its noise is the same whatever batch it is in, also after
            a restart.
        length: The number of samples.
        device: The device on which to draw; a GPU's noise is another than a CPU's.
    """
    rows, generator = [], torch.Generator(device)
    for seed in seeds.tolist():
        generator.manual_seed(seed)
        level = torch.rand((), generator=generator, device=device)
        rows.append(level * torch.randn(length, generator=generator, device=device))
    return torch.stack(rows)
