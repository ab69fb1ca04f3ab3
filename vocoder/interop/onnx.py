"""Generation for other runtimes: two ONNX graphs, of which a client needs no more than their inputs and outputs.

`conditioning.onnx` reads mels; `step.onnx` makes one sample and hands its state on. A client, with onnxruntime in
Python, one utterance or several of equal length:

    mel = np.pad(mel, [(0, 0), (0, 0), (margin_frames, margin_frames)], mode="edge")  # (batch, n_mels, frames)
    h, coefficients, scale, distance = conditioning.run(None, {"mel": mel})
    names = ["layer_inputs", "waveform", "residual"]
    state = ...  # zeros, of the shapes that the graph says
    for t in range(frames * hop_length):
        f = t // hop_length
        frame = {"coefficients": coefficients[:, f], "scale": scale[:, f], "distance": distance[:, f]}
        draw = {"noise": ..., "temperature": np.array(1, np.float32), "position": np.array([t])}
        sample, parameters, *state = step.run(None, {"h": h[:, t], **frame, **draw, **dict(zip(names, state))})

A network of several voices takes `speaker`, (batch,), beside the mel. Bind each state's output to its input's memory,
where the runtime can, and no step copies it. Both graphs' metadata hold `sample_rate`, `hop_length`, `margin_frames`,
the kind of `noise`, and the model's `config` as JSON, whose `waveform` says what is left to undo in the samples.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from vocoder.config import VocoderConfig, to_dict
from vocoder.model.wavenet import WaveNet

OPSET = 18  # what torch's exporter translates to; newer ones only by conversion
FILES = CONDITIONING_FILE, STEP_FILE = "conditioning.onnx", "step.onnx"
NOISE = {
    "mixture_of_logistics": "uniform in (0, 1), standard logistic",
    "gaussian": "uniform in (0, 1), standard normal",
    "mu_law_categorical": "uniform in (0, 1), not read",
}

Shapes = dict[str, dict[int, str]]  # names of the axes of each argument that are free


def export_onnx(folder: str | os.PathLike[str], config: VocoderConfig, network: WaveNet) -> None:
    """Write `conditioning.onnx` and `step.onnx`: opset 18, float32, any batch and any number of frames.

    Graphs that are there already are replaced, other files in the folder are left alone. Both are written elsewhere
    first, and `step.onnx` is put in place last: however the writing ends, it has its own conditioning beside it.

    Args:
        folder: Made if need be.
        config: That the network was built from.
        network: In eval mode.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    _check_installed()
    folder, network = Path(os.path.abspath(folder)), copy.deepcopy(network).cpu()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        temporary = Path(name)
        _export_conditioning(config, network, temporary / CONDITIONING_FILE)
        _export_step(config, network, temporary / STEP_FILE)
        folder.mkdir(exist_ok=True)
        (folder / STEP_FILE).unlink(missing_ok=True)
        for file in FILES:
            os.replace(temporary / file, folder / file)


def describe(config: VocoderConfig) -> dict[str, str]:
    """What the graphs' metadata say; see the module's docstring."""
    return {
        "sample_rate": str(config.mel.sample_rate),
        "hop_length": str(config.mel.hop_length),
        "margin_frames": str(config.network.margin_frames),
        "noise": NOISE[config.network.distribution.name],
        "config": json.dumps(to_dict(config)),
    }


class ConditioningGraph(nn.Module):
    """From mels to what each step reads.

    Args:
        network: In eval mode.
    """

    def __init__(self, network: WaveNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Everything that generation needs of some frames.

        Args:
            mel: (batch, n_mels, frames + 2 · margin_frames), with the neighbours of the frames that are wanted; at an
                utterance's ends its first and last frame are repeated.
            speaker: Index of each utterance's voice (batch,); for networks of several.

        Returns:
            h (batch, frames · hop_length, channels), speaker included; coefficients (batch, frames, order), scale
            (batch, frames) and distance (batch, frames), integer. See `vocoder.model.wavenet.Conditioning`.
        """
        conditioning = self.network.condition(mel, speaker, padded=True)
        h = self.network.upsample(conditioning)
        return h, conditioning.coefficients, conditioning.scale, conditioning.distance


class StepGraph(nn.Module):
    """One sample of each utterance: the reference engine's step, with its state for arguments.

    The past inputs of all layers lie in one tensor of rings, one layer's after the other's: one gather reads them and
    one scatter replaces the oldest. Shift registers would move every row at every step.

    Args:
        network: In eval mode.
    """

    taps: Tensor
    slots: Tensor
    first_slot: Tensor
    ages: Tensor

    def __init__(self, network: WaveNet) -> None:
        super().__init__()
        self.network = network
        config = network.config
        dilations = torch.tensor(config.dilations)
        slots = (config.kernel_size - 1) * dilations
        # Tap k reads x[t - (K-1-k)d]; the oldest lies in the slot that x[t] will take.
        self.register_buffer("taps", torch.arange(config.kernel_size - 1) * dilations[:, None])
        self.register_buffer("slots", slots)
        self.register_buffer("first_slot", slots.cumsum(0) - slots)
        self.register_buffer("ages", torch.arange(1, max(config.linear_prediction_order, 1) + 1))
        self.longest = network.pitch_lag.longest if network.pitch_lag is not None else 1

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """A past of silence."""
        return {
            "layer_inputs": torch.zeros(int(self.slots.sum()), batch, self.network.config.residual_channels),
            "waveform": torch.zeros(batch, len(self.ages)),
            "residual": torch.zeros(batch, self.longest),
        }

    def forward(
        self,
        h: Tensor,
        coefficients: Tensor,
        scale: Tensor,
        distance: Tensor,
        noise: Tensor,
        temperature: Tensor,
        position: Tensor,
        layer_inputs: Tensor,
        waveform: Tensor,
        residual: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Draw one sample and move the state on.

        Args:
            h: This sample's conditioning (batch, channels).
            coefficients: Its frame's linear predictor (batch, order).
            scale: Its frame's expected residual (batch,).
            distance: Its frame's echo (batch,), in samples, integer.
            noise: (batch, 2), of the kind that the metadata name.
            temperature: Multiplies the spread of the law; of shape ().
            position: How many samples were made before (1,), integer.
            layer_inputs: State (slots of all layers, batch, residual_channels).
            waveform: State (batch, order, but at least 1).
            residual: State (batch, longest pitch period).

        Returns:
            The sample (batch,) in [-1, 1), the parameters (batch, num_parameters) of its law, and the state.
        """
        newest = (position - 1) % self.longest
        period_ago = residual.gather(1, ((position - distance) % self.longest).unsqueeze(1)).squeeze(1)
        past = waveform.index_select(1, (position - self.ages) % len(self.ages))
        location = (coefficients * past[:, : coefficients.shape[1]]).sum(dim=-1)
        x = self.network.read(past[:, 0], location, residual.index_select(1, newest).squeeze(1), period_ago)
        read = self.first_slot[:, None] + (position + self.taps) % self.slots[:, None]
        gates, inputs = self._run_layers(x, h, layer_inputs[read])
        parameters = self.network.output(gates, location, scale)
        sample = self.network.distribution.sample(parameters, noise, temperature)  # type: ignore[arg-type]
        return (
            sample,
            parameters,
            layer_inputs.index_put((self.first_slot + position % self.slots,), inputs),
            waveform.index_copy(1, position % len(self.ages), sample.unsqueeze(1)),
            residual.index_copy(1, position % self.longest, ((sample - location) / scale).unsqueeze(1)),
        )

    def _run_layers(self, x: Tensor, h: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """All layers' z side by side (batch, layers · half), and their inputs (layers, batch, residual_channels)."""
        gates, inputs = [], []
        for layer, taps in zip(self.network.layers, past.unbind(), strict=True):
            inputs.append(x)
            z = layer.gated(torch.cat([*taps.unbind(), x, h], dim=-1))
            x = layer.add_residual(x, z)
            gates.append(z)
        return torch.cat(gates, dim=-1), torch.stack(inputs)


def _export_conditioning(config: VocoderConfig, network: WaveNet, path: Path) -> None:
    arguments = {"mel": torch.zeros(2, config.mel.n_mels, 2 * config.network.margin_frames + 4)}
    shapes: Shapes = {"mel": {0: "batch", 2: "padded_frames"}}
    if config.network.num_speakers:
        arguments["speaker"], shapes["speaker"] = torch.zeros(2).long(), {0: "batch"}
    outputs = ("h", "coefficients", "scale", "distance")
    # onnxscript's optimiser takes what is below 1e-8 for zero: the least variance of a residual would be gone.
    _export(ConditioningGraph(network), arguments, shapes, outputs, config, path, optimize=False)


def _export_step(config: VocoderConfig, network: WaveNet, path: Path) -> None:
    graph = StepGraph(network)
    state = graph.initial_state(batch=2)
    arguments = {
        "h": torch.zeros(2, network.layers[0].V.shape[1]),
        "coefficients": torch.zeros(2, config.network.linear_prediction_order),
        "scale": torch.ones(2),
        "distance": torch.ones(2).long(),
        "noise": torch.full((2, 2), 0.5),
        "temperature": torch.tensor(1.0),
        "position": torch.tensor([0]),
        **state,
    }
    shapes: Shapes = {name: {0: "batch"} for name in arguments}
    shapes.update(temperature={}, position={}, layer_inputs={1: "batch"})
    outputs = ("sample", "parameters", *(f"next_{name}" for name in state))
    _export(graph, arguments, shapes, outputs, config, path, optimize=True)  # a third less time for a step


def _export(
    graph: nn.Module,
    arguments: dict[str, Tensor],
    shapes: Shapes,
    outputs: Sequence[str],
    config: VocoderConfig,
    path: Path,
    *,
    optimize: bool,
) -> None:
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            kwargs=arguments,
            input_names=list(arguments),
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            optimize=optimize,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None where a file was asked for
    program.model.metadata_props.update(describe(config))
    program.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter has to say is of no use to anybody but its authors."""
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".isinstance.treespec, LeafSpec.", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: batch", UserWarning)  # it names several, as it should
            yield
    finally:
        chatty.setLevel(level)


def _check_installed() -> None:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"Writing ONNX needs {' and '.join(missing)}, not installed here. Run `pip install 'vocoder[onnx]'`."
        )
