"""What all tests share: a fixed seed and networks small enough to run step by step in a blink."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from vocoder.config import DistributionConfig, MelConfig, NetworkConfig, VocoderConfig
from vocoder.engines.cpu import library
from vocoder.inference.vocoder import Vocoder
from vocoder.model.wavenet import WaveNet

torch.set_num_threads(1)  # tensors here are tiny: on a busy machine, threads that share them wait for each other
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported: its kernels then run on the CPU

DISTRIBUTIONS = ("mixture_of_logistics", "gaussian", "mu_law_categorical")


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the native engine had not been built."""
    monkeypatch.setattr(library, "find_library", lambda: None)
    library._open_library.cache_clear()
    yield
    library._open_library.cache_clear()


def modules_of(package: str) -> dict[str, ModuleType | None]:
    """What has been imported of a package."""
    return {name: module for name, module in sys.modules.items() if f"{name}.".startswith(f"{package}.")}


@pytest.fixture
def forget() -> Iterator[Callable[[str], None]]:
    """Forgets a package until the test ends, so that it is imported anew; what that brings goes with the test."""
    forgotten: dict[str, dict[str, ModuleType | None]] = {}

    def forget(package: str) -> None:
        forgotten.setdefault(package, modules_of(package))
        for name in modules_of(package):
            del sys.modules[name]

    yield forget
    for package, modules in forgotten.items():
        for name in modules_of(package):
            del sys.modules[name]
        sys.modules.update(modules)  # type: ignore[arg-type]  # None: not to be imported
        parent, _, child = package.rpartition(".")
        if package in modules and parent:
            setattr(sys.modules[parent], child, modules[package])


@pytest.fixture
def without_package(forget: Callable[[str], None]) -> Callable[[str], None]:
    """Makes a package, until the test ends, one that is not installed."""

    def hide(package: str) -> None:
        forget(package)
        sys.modules[package] = None  # type: ignore[assignment]

    return hide


def tiny_mel_config(**changes: Any) -> MelConfig:
    """Eight bands at 8 kHz, 16 samples a frame."""
    sizes = {"sample_rate": 8000, "n_fft": 64, "win_length": 64, "hop_length": 16, "n_mels": 8, "f_max": 4000.0}
    return MelConfig(**{**sizes, **changes})


def tiny_config(
    distribution: str = "mixture_of_logistics",
    *,
    num_components: int = 3,
    bits: int = 6,
    mel: MelConfig | None = None,
    **changes: Any,
) -> VocoderConfig:
    """Six narrow layers; `changes` are fields of `NetworkConfig`."""
    sizes = {
        "samples_per_step": 1,
        "residual_channels": 8,
        "gate_channels": 16,
        "skip_channels": 12,
        "sample_channels": 12,
        "recent_excitations": 0,
        "dilation_cycles": 2,
        "layers_per_cycle": 3,
        "conditioning_channels": 6,
        "speaker_channels": 4,
        "linear_prediction_order": 0 if distribution == "mu_law_categorical" else 16,
        "distribution": DistributionConfig(distribution, num_components, bits),  # type: ignore[arg-type]
    }
    return VocoderConfig(mel or tiny_mel_config(), NetworkConfig(**{**sizes, **changes}))


def on_engine(model: Vocoder, engine: str = "torch", **options: Any) -> Vocoder:
    """The same model, with another engine, precision or number of threads."""
    return Vocoder(model.config, model.network, engine=engine, **options)


def tiny_network(config: VocoderConfig | None = None) -> WaveNet:
    """A network whose every weight matters: random, also where training starts from zero."""
    config = config or tiny_config()
    network = WaveNet(config.network, config.mel).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
        network.output_2.weight.normal_(std=0.3)
    return network


def speech_like_mel(config: MelConfig, frames: int, batch: int = 1) -> Tensor:
    """Log-mel of (batch, n_mels, frames) whose values speech could have."""
    low, high = config.value_range
    return low + (high - low) * (0.15 + 0.35 * torch.rand(batch, config.n_mels, frames))


def voice(pitch: float, time: int, sample_rate: int = 22_050, *, slope: float = 0.0) -> Tensor:
    """Harmonics of a pitch in Hz, of amplitude harmonic**-slope, peak 0.5: (1, time); a pulse train if slope is 0."""
    harmonic = torch.arange(1, int(sample_rate / 2 / pitch) + 1, dtype=torch.float64).unsqueeze(1)
    phase = 2 * math.pi * pitch / sample_rate * torch.arange(time, dtype=torch.float64)
    waveform = (harmonic**-slope * torch.cos(harmonic * phase)).sum(dim=0)
    return (0.5 * waveform / waveform.abs().max()).float()[None]
