"""The Triton kernel is the reference engine: on a CPU in Triton's interpreter, compiled where there is a device."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder import Vocoder, example
from vocoder.config import VocoderConfig
from vocoder.engines import ENGINES, create_engine, triton_engine
from vocoder.engines.noise import draw_noise
from vocoder.engines.reference import ReferenceEngine
from vocoder.engines.triton_engine import TritonEngine
from vocoder.engines.triton_packing import ROWS, tile_of
from vocoder.model.distributions import LEVELS
from vocoder.model.wavenet import Conditioning, WaveNet

pytest.importorskip("triton", reason="needs Triton, which torch brings on Linux")

DEVICES = [
    pytest.param(
        "cpu", marks=pytest.mark.skipif(not triton_engine.interpreting(), reason="Triton's interpreter is off")
    ),
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]
EIGHT = {"samples_per_step": 8, "recent_excitations": 8}
# Frames of 16 samples: as many as run through the rings of the layers, in seconds.
VARIANTS: list[tuple[str, dict[str, Any], int]] = [
    ("gaussian", {**EIGHT, "num_components": 1, "layers_per_cycle": 2}, 3),
    (
        "mixture_of_logistics",
        {"samples_per_step": 4, "recent_excitations": 3, "kernel_size": 3, "layers_per_cycle": 2},
        2,
    ),
    ("mu_law_categorical", {"num_speakers": 3, "kernel_size": 3, "layers_per_cycle": 2}, 1),
    (
        "gaussian",
        {"linear_prediction_order": 0, "residual_scale": 0.5**0.5, "residual_channels": 20, "layers_per_cycle": 2},
        1,
    ),
]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


def inputs(network: WaveNet, config: VocoderConfig, rows: int, frames: int) -> tuple[Conditioning, Tensor]:
    device = network.skip.weight.device
    speakers = torch.arange(rows, device=device) % config.network.num_speakers if config.network.num_speakers else None
    with torch.no_grad():
        conditioning = network.condition(speech_like_mel(config.mel, frames, rows).to(device), speakers)
    noise = draw_noise(network.distribution, 0, range(rows), 0, frames * network.hop_length)
    return conditioning, noise.to(device)


def check_laws(engine: TritonEngine, conditioning: Conditioning, waveform: Tensor, tolerance: float = 1e-4) -> None:
    laws = engine.force(conditioning, waveform, engine.initial_state(len(waveform)))
    with torch.no_grad():
        torch.testing.assert_close(laws, engine.network(waveform, conditioning), rtol=tolerance, atol=tolerance)


def check_draws(engine: TritonEngine, conditioning: Conditioning, noise: Tensor) -> None:
    """The network's own laws of what was made, from the same noise, give it again: the reference engine's samples."""
    network, rows = engine.network, len(noise)
    waveform = engine.generate(conditioning, noise, engine.initial_state(rows), temperature=0.7)
    waveform = waveform.clone()  # leaves inference mode
    with torch.no_grad():
        drawn = network.distribution.sample(network(waveform, conditioning), noise, 0.7)
    torch.testing.assert_close(waveform, drawn, rtol=0, atol=1.01 / LEVELS)  # another rounding, to the next level
    assert waveform.std() > 1e-3
    check_laws(engine, conditioning, waveform)


@pytest.mark.parametrize(("distribution", "changes", "frames"), VARIANTS)
def test_samples_are_draws_of_the_teacher_forced_laws(
    distribution: str, changes: dict[str, Any], frames: int, device: str
) -> None:
    config = tiny_config(distribution, **changes)
    network = tiny_network(config).to(device)
    check_draws(TritonEngine(network), *inputs(network, config, 2, frames))


def test_every_echo_is_the_teacher_forced_one(device: str) -> None:
    network = tiny_network(tiny_config("gaussian", **EIGHT, layers_per_cycle=1)).to(device)
    conditioning, noise = inputs(network, tiny_config("gaussian"), 3, 5)
    assert network.pitch_lag is not None
    lag = torch.randint(8, network.pitch_lag.longest + 1, conditioning.lag.shape)
    lag[:, 1], lag[:, -1] = 8, network.pitch_lag.longest
    reach = torch.tensor([0.02, 1.0, torch.inf]).repeat(len(lag), 2)[:, : lag.shape[1]]
    conditioning = replace(conditioning, lag=lag.to(device), reach=reach.to(device))
    check_laws(TritonEngine(network), conditioning, 0.1 * noise[..., 1].clamp(-9, 9))


def test_a_row_is_bit_identical_in_any_batch_and_any_chunks(device: str) -> None:
    config = tiny_config("gaussian", **EIGHT, layers_per_cycle=2, dilation_cycles=1)
    network, rows, hop = tiny_network(config).to(device), ROWS + 1, 16
    conditioning, noise = inputs(network, config, rows, 3)
    engine = TritonEngine(network)
    together = engine.generate(conditioning, noise, engine.initial_state(rows))
    for row in (3, ROWS):  # of the first program, of the second
        one, state, parts = conditioning.select(torch.tensor([row], device=device)), engine.initial_state(1), []
        for start, stop in ((0, 1), (1, 3)):
            part = noise[row : row + 1, start * hop : stop * hop]
            waveform = engine.generate(one.slice_frames(start, stop), part, state)
            parts.append(waveform)
        assert torch.equal(torch.cat(parts, dim=1)[0], together[row])


def test_a_restarted_row_is_a_new_utterance_and_the_others_go_on(device: str) -> None:
    config = tiny_config("gaussian", **EIGHT, layers_per_cycle=2, dilation_cycles=1)
    network = tiny_network(config).to(device)
    conditioning, noise = inputs(network, config, 2, 1)
    engine = TritonEngine(network)
    state = engine.initial_state(2)
    first = engine.generate(conditioning, noise, state)
    went_on = engine.generate(conditioning, noise, copy.deepcopy(state))
    engine.restart(state, 1)
    waveform = engine.generate(conditioning, noise, state)
    assert torch.equal(waveform[1], first[1])
    assert torch.equal(waveform[0], went_on[0])
    assert not torch.equal(went_on[1], first[1])


def test_the_state_of_another_engine_or_network_is_refused(device: str) -> None:
    network = tiny_network().to(device)
    engine, (conditioning, noise) = TritonEngine(network), inputs(network, tiny_config(), 1, 1)
    others = [ReferenceEngine(network), TritonEngine(tiny_network(tiny_config(residual_channels=9)).to(device))]
    for state in (*(other.initial_state(1) for other in others), [None], None):
        with pytest.raises(ValueError, match=r"`state` must be of an engine for this network"):
            engine.generate(conditioning, noise, state)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of as many utterances"):
        engine.generate(conditioning, noise, engine.initial_state(ROWS + 1))


def test_bf16_laws_differ_by_no_more_than_its_rounding(device: str) -> None:
    config = tiny_config("gaussian", **EIGHT, layers_per_cycle=2)
    network = tiny_network(config).to(device)
    conditioning, noise = inputs(network, config, 2, 1)
    waveform = 0.1 * noise[..., 1]
    check_laws(TritonEngine(network, "bf16"), conditioning, waveform, 0.05)  # eight bits: 0.4 % of each product
    with pytest.raises(AssertionError, match="not close"):
        check_laws(TritonEngine(network, "bf16"), conditioning, waveform)


def shipped_voice(samples: int, rows: int) -> tuple[WaveNet, Conditioning, Tensor]:
    """`universal`, and its example's loudest frames, a row each, cut to so many samples."""
    voice = Vocoder.from_pretrained("universal")
    network, mel = copy.deepcopy(voice.network), torch.as_tensor(example().mel)
    with torch.no_grad():
        conditioning = network.condition(mel[None])
    network.hop_length, step = samples, network.samples_per_step
    network.upsampling.kernel = torch.nn.Parameter(network.upsampling.kernel[: samples // step].detach())
    loudest = conditioning.scale[0].topk(rows).indices
    frames = [conditioning.slice_frames(int(frame), int(frame) + 1) for frame in loudest]
    return network, Conditioning.join(frames), draw_noise(network.distribution, 7, range(rows), 0, samples)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # in the interpreter: a shut gate is 1 / (1 + inf)
def test_the_shipped_voice_says_the_same(device: str) -> None:
    network, conditioning, noise = shipped_voice(24, 2)
    network, noise = network.to(device), noise.to(device)
    conditioning = Conditioning(*(part.to(device) for part in vars(conditioning).values()))
    check_draws(TritonEngine(network), conditioning, noise)


def test_it_runs_where_it_is_named_and_auto_prefers_the_others() -> None:
    assert ENGINES.index(TritonEngine) > ENGINES.index(ReferenceEngine)  # which runs everywhere
    assert not isinstance(create_engine("auto", tiny_network()), TritonEngine)


def test_what_it_cannot_run_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "up to 256 channels and levels, but this one has 512" in str(
        TritonEngine.obstacle(tiny_network(tiny_config("mu_law_categorical", bits=9)))
    )
    with pytest.raises(ValueError, match=r"up to 128 channels in fp32, but this one has 256\. Take precision bf16"):
        TritonEngine(tiny_network(tiny_config(skip_channels=200)), "fp32")
    network = tiny_network()
    monkeypatch.setattr(triton_engine, "installed_triton", lambda: (3, 1))
    assert "needs Triton 3.6" in str(TritonEngine.obstacle(network))
    monkeypatch.delenv("TRITON_INTERPRET")
    assert "runs on CUDA devices, but the network is on the cpu" in str(TritonEngine.obstacle(network))


@pytest.mark.parametrize(("width", "tile"), [(0, 0), (1, 16), (16, 16), (17, 32), (64, 64), (80, 128)])
def test_a_tile_is_the_power_of_two_that_holds_a_width(width: int, tile: int) -> None:
    assert tile_of(width) == tile


# --- compiled, without a device ---------------------------------------------------------------------------------------

COMPILE = """
import json, re, subprocess, sys, tempfile, warnings
from pathlib import Path
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from vocoder.config import NETWORKS, DistributionConfig, MelConfig, NetworkConfig
from vocoder.engines import triton_engine
from vocoder.engines import triton_kernel as kernel
from vocoder.model.wavenet import WaveNet


class AbsentDevice:  # an H100's, as far as compiling asks for one
    def get_current_device(self): return 0
    def get_current_stream(self, device): return 0
    def get_current_target(self): return GPUTarget("cuda", 90, 32)


class Compiled:
    def __getitem__(self, grid):
        def compile(*args, **options):
            self.made = kernel_itself.warmup(*args, grid=grid, **options)
        return compile


name, precision, forced = sys.argv[1:]
driver.set_active(AbsentDevice())
kernel_itself, kernel.run_frame = kernel.run_frame, Compiled()
triton_engine.TritonEngine.obstacle = classmethod(lambda cls, network: None)
tiny = MelConfig(sample_rate=8000, n_fft=64, win_length=64, hop_length=16, n_mels=8, f_max=4000.0)
law = DistributionConfig("mu_law_categorical", bits=6)
small = {
    "tiny": NetworkConfig(residual_channels=24, gate_channels=16, skip_channels=16, conditioning_channels=16,
                          sample_channels=16),
    "levels": NetworkConfig(samples_per_step=1, residual_channels=16, gate_channels=32, skip_channels=16,
                            sample_channels=16, recent_excitations=0, linear_prediction_order=0, kernel_size=3,
                            num_speakers=2, distribution=law),
}
mel = tiny if name in small else MelConfig()
network = WaveNet({**small, **NETWORKS}[name], mel).eval()
engine = triton_engine.TritonEngine(network, precision)
speaker = torch.zeros(1, dtype=torch.long) if network.config.num_speakers else None
with torch.no_grad():
    conditioning = network.condition(torch.zeros(1, mel.n_mels, 1), speaker)
time = network.hop_length
if forced == "True":
    engine.force(conditioning, torch.zeros(1, time), engine.initial_state(1))
else:
    engine.generate(conditioning, torch.zeros(1, time, 2), engine.initial_state(1))
made = kernel.run_frame.made
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "kernel.cubin").write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([tool, "--dump-resource-usage", Path(folder) / "kernel.cubin"], capture_output=True,
                           text=True, check=True).stdout
registers, stack = (int(re.search(rf"{word}:(\\d+)", usage)[1]) for word in ("REG", "STACK"))
print(json.dumps({"registers": registers, "stack": stack, "shared": made.metadata.shared,
                  "threads": 32 * made.metadata.num_warps, "uncoherent": made.asm["ptx"].count("ld.global.nc"),
                  "tensor_cores": made.asm["ptx"].count("mma.sync")}))
"""


def compile_for_hopper(network: str, precision: str, forced: bool) -> dict[str, int]:
    """Compile what an engine launches for an H100, which takes no device, in a process whose Triton compiles."""
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE, network, precision, str(forced)],
        env={**triton_engine.os.environ, "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    used: dict[str, int] = json.loads(ran.stdout)
    print(network, precision, used)
    assert used["threads"] * used["registers"] <= 65_536  # of a processor
    assert used["shared"] <= 227 * 1024
    assert used["uncoherent"] == 0  # loads that would not see what the kernel itself has written
    assert (used["tensor_cores"] > 0) == (precision == "bf16")
    return used


@pytest.mark.parametrize(("network", "precision", "forced"), [("tiny", "bf16", False), ("levels", "fp32", True)])
def test_it_compiles_for_a_device(network: str, precision: str, forced: bool) -> None:
    assert compile_for_hopper(network, precision, forced)["stack"] <= 64  # bytes of a thread: hardly a spill


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "precision", "spilled"),  # bytes of a thread's registers; as the compiler of Triton 3.6 gave them
    [
        ("wavenet-64-g8", "bf16", 24),
        ("wavenet-64-g8", "fp32", 320),
        ("wavenet-64-g4", "bf16", 64),
        ("wavenet-64", "bf16", 0),
    ],
)
def test_named_networks_compile_with_few_spills(network: str, precision: str, spilled: int) -> None:
    assert compile_for_hopper(network, precision, False)["stack"] <= spilled
