"""Generation for other runtimes: two ONNX graphs, of which a client needs no more than their inputs and outputs.

`conditioning.onnx` reads mels; `step.onnx` makes the G samples of one step and hands its state on. A client, with
onnxruntime in Python, one utterance or several of equal length:

    mel = np.pad(mel, [(0, 0), (0, 0), (margin_frames, margin_frames)], mode="edge")  # (batch, n_mels, frames)
    h, coefficients, scale, lag, reach, spread = conditioning.run(None, {"mel": mel})
    names = ["layer_inputs", "waveform", "excitation"]
    state = ...  # zeros, of the shapes that the graph says
    for n in range(frames * hop_length // G):
        t = n * G
        f = t // hop_length
        frame = {"coefficients": coefficients[:, f], "scale": scale[:, f], "lag": lag[:, f], "reach": reach[:, f]}
        noise = ...  # (batch, G, 2), of the kind that the metadata name; a continuous law's is spread:
        noise[:, :, 1] *= spread[:, f, None]
        draw = {"noise": noise, "temperature": np.array(1, np.float32), "position": np.array([t])}
        samples, parameters, *state = step.run(None, {"h": h[:, n], **frame, **draw, **dict(zip(names, state))})

A network of several voices takes `speaker`, (batch,), beside the mel. Bind each state's output to its input's memory,
where the runtime can, and no step copies it. Both graphs' metadata hold `sample_rate`, `hop_length`,
`samples_per_step` (G), `margin_frames`, the kind of `noise`, and the model's `config` as JSON, whose `waveform` says
what is left to undo in the samples, and whose `sampling.correction_passes` how often their mel is then corrected
(`vocoder/inference/correction.py`, which needs no network).
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
from vocoder.engines.step import Frame, State, Step
from vocoder.model.wavenet import FRAME_PARTS, WaveNet

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
        folder: The folder, made if need be.
        config: The config from which the network was built.
        network: The network, in eval mode.

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
    """Collect the metadata of the graphs; see the module's docstring."""
    return {
        "sample_rate": str(config.mel.sample_rate),
        "hop_length": str(config.mel.hop_length),
        "samples_per_step": str(config.network.samples_per_step),
        "margin_frames": str(config.network.margin_frames),
        "noise": NOISE[config.network.distribution.name],
        "config": json.dumps(to_dict(config)),
    }


class ConditioningGraph(nn.Module):
    """From mels to what each step reads.

    Args:
        network: The network, in eval mode.
        voiced_temperature: The model's own; see `SamplingConfig`.
    """

    def __init__(self, network: WaveNet, voiced_temperature: float) -> None:
        super().__init__()
        self.network, self.voiced_temperature = network, voiced_temperature

    def forward(self, mel: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, ...]:
        """Everything that generation needs of some frames.

        Args:
            mel: The mel (batch, n_mels, frames + 2 · margin_frames), with the neighbours of the frames that are wanted;
                at an utterance's ends its first and last frame are repeated.
            speaker: The index of each utterance's voice (batch,); for networks of several.

        Returns:
            h (batch, frames · hop_length / G, channels), speaker included; coefficients (batch, frames, order), scale
            (batch, frames), lag (batch, frames), integer, reach and spread (batch, frames). See
            `vocoder.model.wavenet.Conditioning`.
        """
        conditioning = self.network.condition(mel, speaker, padded=True, voiced_temperature=self.voiced_temperature)
        h = self.network.upsample(conditioning)
        return h, *(getattr(conditioning, name) for name in FRAME_PARTS)


class StepGraph(nn.Module):
    """One step of each utterance (`vocoder.engines.step`), with its state for arguments.

    Args:
        network: The network, in eval mode.
    """

    def __init__(self, network: WaveNet) -> None:
        super().__init__()
        self.step = Step(network)

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """Give the state at the beginning: a past of silence, and the position 0."""
        return vars(self.step.initial_state(batch))

    def forward(
        self,
        h: Tensor,
        coefficients: Tensor,
        scale: Tensor,
        lag: Tensor,
        reach: Tensor,
        noise: Tensor,
        temperature: Tensor,
        position: Tensor,
        layer_inputs: Tensor,
        waveform: Tensor,
        excitation: Tensor,
    ) -> tuple[Tensor, ...]:
        """Draw the samples of one step and move the state on.

        Args:
            h: The conditioning of this step (batch, channels).
            coefficients: The linear predictor of its frame (batch, order).
            scale: The expected excitation of its frame (batch,).
            lag: The distance of its frame's echo (batch,), in samples, integer.
            reach: The bound on its frame's laws (batch,).
            noise: The noise (batch, G, 2), of the kind that the metadata name; the second number times the frame's
                spread.
            temperature: The factor on the spread of the law; of shape ().
            position: The number of samples that were made before (1,), integer.
            layer_inputs: The layers' state (slots of all layers, batch, residual_channels).
            waveform: The waveform's state (batch, slots).
            excitation: The excitation's state (batch, slots).

        Returns:
            The samples (batch, G) in [-1, 1), the parameters (batch, G, num_parameters) of their laws, and the state,
            all but the position.
        """
        state = State(position, layer_inputs, waveform, excitation).clone()  # the exporter wants no argument written to
        distribution = self.step.network.distribution

        def draw(law: Tensor, place: int) -> Tensor:
            return distribution.sample(law, noise[:, place], temperature)

        samples, parameters = self.step(state, h, Frame(coefficients, scale, lag, reach), draw)
        return samples, parameters, state.layer_inputs, state.waveform, state.excitation


def _export_conditioning(config: VocoderConfig, network: WaveNet, path: Path) -> None:
    arguments = {"mel": torch.zeros(2, config.mel.n_mels, 2 * config.network.margin_frames + 4)}
    shapes: Shapes = {"mel": {0: "batch", 2: "padded_frames"}}
    if config.network.num_speakers:
        arguments["speaker"], shapes["speaker"] = torch.zeros(2).long(), {0: "batch"}
    graph = ConditioningGraph(network, config.sampling.voiced_temperature)
    # onnxscript's optimiser takes what is below 1e-8 for zero: the least variance of an excitation would be gone.
    program = _export(graph, arguments, shapes, ("h", *FRAME_PARTS), optimize=False)
    _save(program, config, path)


def _export_step(config: VocoderConfig, network: WaveNet, path: Path) -> None:
    graph = StepGraph(network)
    state = graph.initial_state(batch=2)
    arguments = {
        "h": torch.zeros(2, network.layers[0].V.shape[1]),
        "coefficients": torch.zeros(2, config.network.linear_prediction_order),
        "scale": torch.ones(2),
        "lag": torch.full((2,), network.samples_per_step),
        "reach": torch.ones(2),
        "noise": torch.full((2, network.samples_per_step, 2), 0.5),
        "temperature": torch.tensor(1.0),
        **state,
    }
    shapes: Shapes = {name: {0: "batch"} for name in arguments}
    shapes.update(temperature={}, position={}, layer_inputs={1: "batch"})
    outputs = ("samples", "parameters", *(f"next_{name}" for name in state if name != "position"))
    program = _export(graph, arguments, shapes, outputs, optimize=True)  # a third less time for a step
    _save(program, config, path)


def _export(
    graph: nn.Module, arguments: dict[str, Tensor], shapes: Shapes, outputs: Sequence[str], *, optimize: bool
) -> torch.onnx.ONNXProgram:
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
    return program


def _save(program: torch.onnx.ONNXProgram, config: VocoderConfig, path: Path) -> None:
    program.model.metadata_props.update(describe(config))
    program.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, whose messages are of use only to its authors."""
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
