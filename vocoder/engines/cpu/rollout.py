"""Free running with a gradient: segments made sample by sample, and what a loss says of them, brought back in time.

A parallel pass alone cannot give that gradient: it ignores that the network corrects itself, and points 75° off.
Autograd through thousands of steps takes twenty times as long as `rollout.h`, which carries only the samples'
gradient back; weights then get theirs from one parallel pass. Where free running is chaotic the gradient grows without
end (in a sixth of the segments, up to 10⁴ times), so it is held at `BOUND`.
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from torch import Tensor

from vocoder.config import NetworkConfig
from vocoder.engines.base import check_conditioning
from vocoder.engines.cpu.library import RolloutJob, chosen_instruction_set, library_obstacle, load_library
from vocoder.engines.cpu.native import describe, list_weights, shape_obstacle
from vocoder.model.wavenet import Conditioning, WaveNet

LANES = 16  # rows come in multiples of it: the widest vector's
BOUND = 20.0  # times a row's own r.m.s., which few samples reach: beyond, free running is chaotic


def check_rollout(config: NetworkConfig) -> None:
    """Refuse networks that cannot be followed back in time.

    Raises:
        ValueError: The law is no single Gaussian or logistic, or the network reads no excitations.
    """
    law = config.distribution
    if law.name == "mu_law_categorical" or law.num_components > 1 or not config.recent_excitations:
        raise ValueError(
            f"Free copies teach a network that reads recent excitations and has a single Gaussian or logistic for its "
            f"law, but this one has recent_excitations {config.recent_excitations} and the distribution {law.name} "
            f"with num_components {law.num_components}. Set `--model.free_running 0`."
        )


class Rollout:
    """Segments that a network makes freely, from silence, on the CPU; unrounded, in float32.

    The weights of the moment are taken. Everything that the derivative needs is written down while samples are made.

    Args:
        network: The network, for which `check_rollout` passes.
        conditioning: The segments' conditioning.
        noise: The noise of each sample's law (batch, time), without its first number, which chooses a component.

    Attributes:
        waveform: The segments (batch, time), float32.

    Raises:
        RuntimeError: There is no compiled library here, or it cannot handle a network of this size.
        ValueError: The network cannot be followed, or noise and conditioning are not of one length and number.
    """

    @torch.no_grad()
    def __init__(self, network: WaveNet, conditioning: Conditioning, noise: Tensor) -> None:
        check_rollout(network.config)
        library = load_library()
        obstacle = library_obstacle() or shape_obstacle(network)
        if library is None or obstacle:
            raise RuntimeError(
                f"Free copies are made by compiled code, and there must be some that can run the network: {obstacle} "
                "Or train without: `--model.free_running 0`."
            )
        self._library, self._shape = library, describe(network)
        self._weights = np.concatenate([w.detach().float().cpu().numpy().ravel() for w in list_weights(network)])
        check_conditioning(network, conditioning)
        _require_shape("noise", noise, (len(conditioning.scale), conditioning.frames * network.hop_length))
        (self.batch, time), steps = noise.shape, noise.shape[1] // network.samples_per_step
        rows = -(-self.batch // LANES) * LANES
        self._instruction_set = chosen_instruction_set().encode()
        tape = self._library.vocoder_tape_size(self._instruction_set, ctypes.addressof(self._shape))
        self._arrays = {
            "h": _by_lane(network.upsample(conditioning).float(), rows),
            "coefficients": _by_lane(conditioning.coefficients.float(), rows),
            "scale": _by_lane(conditioning.scale.float(), rows, fill=1.0),
            "lag": _by_lane(conditioning.lag.int(), rows, fill=1),
            "reach": _by_lane(conditioning.reach.float(), rows),
            "noise": _by_lane(noise.float(), rows),
            "waveform": torch.empty(time, rows),
            "tape": torch.empty(steps, tape, rows),
            "total": torch.empty(time, rows),
        }
        self._rows, self._steps = rows, steps
        self._call(back=False)
        self.waveform = self._arrays["waveform"].T[: self.batch].contiguous()

    def pull(self, gradient: Tensor) -> Tensor:
        """Add to what a loss says of each sample what it says through all that follows from it: (batch, time).

        The samples' recursion is followed exactly, from the last to the first: linear prediction, the layers, the
        echo, the recent excitations. Free running is chaotic in places, where a gradient would grow without end; there
        it is held at `BOUND`.

        Args:
            gradient: The loss' derivative by each sample alone (batch, time).

        Raises:
            ValueError: The gradient is not of the waveform's shape.
        """
        _require_shape("gradient", gradient, tuple(self.waveform.shape))
        gradient, scale = gradient.float().cpu(), self._arrays["scale"].T[: self.batch]
        scale = scale.repeat_interleave(gradient.shape[1] // scale.shape[1], dim=1)
        bound = BOUND * (gradient * scale).square().mean(dim=1).sqrt()
        self._arrays["gradient"] = _by_lane(gradient, self._rows)
        self._arrays["bound"] = _by_lane(bound, self._rows)
        self._call(back=True)
        return self._arrays["total"].T[: self.batch].contiguous()

    def _call(self, *, back: bool) -> None:
        job = RolloutJob(**{name: array.data_ptr() for name, array in self._arrays.items()})
        job.rows, job.steps = self._rows, self._steps
        weights, shape = self._weights.ctypes.data, ctypes.addressof(self._shape)
        if not self._library.vocoder_rollout(self._instruction_set, shape, weights, ctypes.addressof(job), back):
            raise MemoryError("There is not enough memory to make segments freely. Take fewer, or shorter ones.")


def _require_shape(name: str, array: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an array that the library would read beyond its end."""
    if array.shape != shape:
        raise ValueError(f"`{name}` must be of shape {shape}, one number for each sample, but is {tuple(array.shape)}.")


def _by_lane(array: Tensor, rows: int, fill: float = 0.0) -> Tensor:
    """Give (batch, …) as (…, rows), contiguous, on the CPU; rows beyond the batch hold the fill."""
    array = array.detach().cpu()
    missing = array.new_full((rows - len(array), *array.shape[1:]), fill)
    return torch.cat([array, missing]).movedim(0, -1).contiguous()
