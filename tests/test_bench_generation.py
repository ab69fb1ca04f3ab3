"""`vocoder bench` counts what generation takes and times every combination; `vocoder info` says what there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import DISTRIBUTIONS, tiny_config, tiny_network
from vocoder.bench.cases import BenchPlan, default_threads, engine_cases
from vocoder.bench.limits import (
    block_length,
    count_multiply_adds,
    measure_limits,
    native_weight_bytes,
    reference_weight_bytes,
)
from vocoder.bench.peers import build_peers
from vocoder.cli import main
from vocoder.config import NETWORKS, MelConfig
from vocoder.engines import ENGINES
from vocoder.engines.cpu.library import load_library
from vocoder.engines.cpu.native import NativeEngine
from vocoder.engines.reference import ReferenceEngine
from vocoder.inference.vocoder import Vocoder
from vocoder.model.wavenet import WaveNet

FIELDS = {
    "network", "engine", "isa", "precision", "streams", "threads", "samples_per_second", "samples_per_second_min",
    "samples_per_second_max", "times_real_time", "multiply_adds_per_sample", "weight_bytes_per_step",
    "bandwidth_fraction", "l2_bytes_per_second", "peak_fraction", "peak_multiply_adds_per_second", "samples_per_run",
    "machine",
}  # fmt: skip
LIMITS = ("bandwidth_fraction", "l2_bytes_per_second", "peak_fraction", "peak_multiply_adds_per_second")

needs_library = pytest.mark.skipif(load_library() is None, reason="The native engine was not built.")
Bench = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def model(tmp_path: Path) -> str:
    config = tiny_config()
    Vocoder(config, tiny_network(config)).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def bench(model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs the command as briefly as can be, and reads its rows."""
    monkeypatch.setattr("vocoder.bench.generation.PAUSE_SECONDS", 0)

    def run(*flags: str) -> list[dict[str, Any]]:
        assert main(["bench", "--model", model, "--repeats", "2", "--seconds", "1e-6", "--json", *flags]) == 0
        output = capsys.readouterr()
        assert output.err == ""
        return json.loads(output.out)  # type: ignore[no-any-return]

    return run


def test_json_is_a_list_of_rows_and_nothing_else(bench: Bench, model: str) -> None:
    (row,) = bench("--engine", "torch", "--threads", "1")
    assert set(row) == FIELDS
    assert (row["network"], row["engine"], row["precision"], row["isa"]) == (model, "torch", "fp32", None)
    assert 0 < row["samples_per_second_min"] <= row["samples_per_second"] <= row["samples_per_second_max"]
    assert row["samples_per_run"] == tiny_config().mel.hop_length  # one frame, if a run shall be as short as can be


@needs_library
def test_every_combination_runs_once_with_the_precisions_that_an_engine_has(bench: Bench) -> None:
    rows = bench("--engine", "native,torch", "--precision", "auto,w8a16,fp32", "--streams", "1,3", "--threads", "1,2,2")
    found = [(row["engine"], row["precision"], row["threads"], row["streams"]) for row in rows]
    kinds = [("native", "w8a16"), ("native", "fp32"), ("torch", "fp32")]
    assert found == [(*kind, threads, streams) for kind in kinds for threads in (1, 2) for streams in (1, 3)]
    assert all(row["isa"] for row in rows if row["engine"] == "native")
    assert all(row[name] > 0 for row in rows for name in LIMITS[1::2])


def test_without_the_library_torch_is_timed_but_not_compared_with_the_machine(
    bench: Bench, without_library: None
) -> None:
    (row,) = bench("--engine", "auto", "--threads", "1")
    assert row["engine"] == "torch"
    assert [row[name] for name in LIMITS] == [None] * 4


def test_the_table_names_machine_command_and_every_combination(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "--model", model, "--device", "cpu", "--engine", "torch", "--precision", "auto", "--streams",
               "1,2", "--threads", "1", "--repeats", "1", "--seconds", "1e-06"]  # fmt: skip
    assert main(command) == 0
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert first.endswith(" ".join(["vocoder", *command]))
    assert "× real time" in head
    assert len(rows) == 2
    assert len({len(line) for line in (head, *rows)}) == 1


def count_from_shapes(network: WaveNet) -> float:
    """Multiply-adds of a sample: one for each element of the matrices that are there, a step's or a frame's shared."""
    layers = list(network.layers)
    matrices = [network.skip, network.output_1]
    matrices += [layer.residual for layer in layers if layer.residual is not None]
    matrices += [network.input] if isinstance(network.input, torch.nn.Linear) else []
    each_step = sum(matrix.weight.numel() for matrix in matrices) + sum(layer.W.numel() for layer in layers)
    each_step += sum(len(layer.bias) for layer in layers) * network.upsampling.kernel.shape[1]  # interpolation
    each_sample = network.output_2.weight.numel() + (0 if network.recent is None else network.recent.weight.numel())
    each_sample += network.predictor.order if network.predictor is not None else 0
    each_frame = sum(layer.V.numel() for layer in layers)
    return each_step / network.samples_per_step + each_sample + each_frame / network.hop_length


GROUPED = {"samples_per_step": 4, "recent_excitations": 3, "sample_channels": 20}


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize(
    ("distribution", "changes"), [*((name, {}) for name in DISTRIBUTIONS), ("mixture_of_logistics", GROUPED)]
)
def test_multiply_adds_are_those_of_the_matrices(distribution: str, changes: dict[str, Any], kernel_size: int) -> None:
    network = tiny_network(tiny_config(distribution, kernel_size=kernel_size, **changes))
    assert count_multiply_adds(network) == count_from_shapes(network)


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_of_named_networks_are_those_of_the_matrices(name: str) -> None:
    network = WaveNet(NETWORKS[name], MelConfig()).eval()
    assert count_multiply_adds(network) == count_from_shapes(network)


@pytest.mark.parametrize(
    ("dilation", "rows", "expected"),
    [(1, 1, 1), (3, 1, 1), (4, 1, 2), (7, 1, 1), (512, 1, 16), (512, 4, 4), (512, 9, 1)],
)
def test_a_block_is_known_before_it_is_needed_and_has_sixteen_rows_at_most(
    dilation: int, rows: int, expected: int
) -> None:
    assert block_length(dilation, rows) == expected
    assert expected == 1 or (2 * expected - 1 <= dilation and expected * rows <= 16)


def test_weights_are_read_once_a_step_but_those_of_past_taps_once_a_block() -> None:
    network = tiny_network()
    layers = list(network.layers)
    tap = layers[0].W.numel() // 2  # of the two that the kernel has
    each_step = sum(layer.W.numel() - tap for layer in layers)
    each_step += sum(layer.residual.weight.numel() for layer in layers if layer.residual is not None)
    each_step += sum(linear.weight.numel() for linear in (network.skip, network.output_1, network.output_2))
    past = sum(tap / block for block in (1, 1, 2) * 2)  # dilations 1, 2, 4, twice
    exact, each_frame = 4 * 4 * 8, 4 * sum(layer.V.numel() for layer in layers) / 16  # in fp32: four inputs, V
    assert native_weight_bytes(network, "fp32", [1]) == 4 * (each_step + past) + exact + each_frame
    assert native_weight_bytes(network, "w8a16", [1]) == each_step + past + exact + each_frame
    many = native_weight_bytes(network, "fp32", [16])  # too many rows for blocks
    assert many == 4 * (each_step + tap * len(layers)) + exact + 16 * each_frame
    assert native_weight_bytes(network, "fp32", [16, 16]) == 2 * many


def test_weights_of_the_layers_are_read_once_for_several_samples() -> None:
    network = tiny_network(tiny_config(**GROUPED))
    layers = list(network.layers)
    tap = layers[0].W.numel() // 2
    each_step = sum(layer.W.numel() - tap for layer in layers) + network.skip.weight.numel()
    each_step += sum(layer.residual.weight.numel() for layer in layers if layer.residual is not None)
    each_step += network.output_1.weight.numel() + sum(tap / block for block in (1, 1, 2) * 2)
    assert network.recent is not None
    exact = 4 * (network.recent.weight.numel() + network.output_2.weight.numel())  # of the sample network: in fp32
    exact += 4 * network.input.weight.numel() / 4 + 4 * sum(layer.V.numel() for layer in layers) / 16
    assert native_weight_bytes(network, "w8a16", [1]) == each_step / 4 + exact
    assert native_weight_bytes(network, "int16", [1]) == 2 * each_step / 4 + exact


def test_the_reference_reads_all_weights_of_a_step_for_each_group() -> None:
    network = tiny_network()
    parts = [*network.layers, network.skip, network.output_1, network.output_2, network.input]
    weights = sum(weight.numel() for part in parts for weight in part.parameters() if weight.dim() > 1)
    assert reference_weight_bytes(network, 3) == 3 * 4 * weights


@needs_library
@pytest.mark.parametrize("precision", NativeEngine.precisions)
def test_the_machine_has_limits_in_every_precision(precision: str) -> None:
    limits = measure_limits(precision)
    assert limits is not None
    assert limits.bytes_per_second > 0
    assert limits.multiply_adds_per_second > 0


def test_threads_are_all_cores_and_powers_of_two_below(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, expected in ((1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))):
        monkeypatch.setattr("vocoder.bench.cases.physical_cores", lambda cores=cores: cores)
        assert default_threads() == expected


def test_a_run_leaves_torchs_threads_as_they_were() -> None:
    before, network = torch.get_num_threads(), tiny_network()
    (case,) = engine_cases("tiny", tiny_config(), network, BenchPlan(engines=("torch",), threads=(before + 1,)))
    assert case.run(1) > 0
    assert torch.get_num_threads() == before


def test_voices_of_several_speakers_can_be_timed() -> None:
    config = tiny_config(num_speakers=3)
    for case in engine_cases("tiny", config, tiny_network(config), BenchPlan(engines=("auto",), streams=(2,))):
        assert case.run(2) > 0


R9Y9 = """
import torch
from torch import nn

class WaveNet(nn.Module):
    def __init__(self, layers, **sizes):
        super().__init__()
        self.first_conv, self.last_conv_layers = nn.Linear(1, 8), nn.ModuleList([nn.ReLU(), nn.Linear(8, 1)])
        self.conv_layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(layers))
        self.upsample_net = nn.Linear(80, 80)

    def make_generation_fast_(self):
        self.fast = not self.training

    def incremental_forward(self, c, T, **options):
        assert self.fast and not torch.is_grad_enabled()
        assert T == 256 * (c.shape[2] - 4)
        return torch.zeros(len(c), 1, T)
"""


HIFIGAN = """
import torch
class Generator(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.hop_size = config.hop_size
    def remove_weight_norm(self):
        print("Removing weight norm...")
        self.ready = True
    def forward(self, mel):
        assert self.ready and mel.shape[1] == 8
        return mel[:, :1].repeat_interleave(self.hop_size, 2)
"""


@pytest.fixture
def clone(tmp_path: Path, forget: Callable[[str], None]) -> Path:
    """A folder with the packages of peers, small enough for a test; they are forgotten afterwards."""
    for package in ("wavenet_vocoder", "models", "env"):
        forget(package)
    (tmp_path / "wavenet_vocoder.py").write_text(R9Y9, encoding="utf-8")
    (tmp_path / "models.py").write_text(HIFIGAN, encoding="utf-8")
    (tmp_path / "env.py").write_text("class AttrDict(dict):\n    __getattr__ = dict.__getitem__\n", encoding="utf-8")
    for version in (1, 2, 3):
        config = {"sampling_rate": 22_050, "hop_size": 64 * version, "num_mels": 8}
        (tmp_path / f"config_v{version}.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


def test_a_peer_runs_beside_at_as_many_streams_and_threads(bench: Bench, clone: Path) -> None:
    rows = bench("--engine", "torch", "--threads", "1", "--streams", "1,2", "--peer", f"r9y9={clone}")
    assert [(row["engine"], row["streams"]) for row in rows] == [("torch", 1), ("torch", 2), ("r9y9", 1), ("r9y9", 2)]
    assert all(set(row) == {*FIELDS, "times_peer"} for row in rows)
    assert [row["times_peer"] for row in rows[2:]] == [1, 1]
    assert rows[2]["multiply_adds_per_sample"] == 8 + 24 * 64 + 8
    assert rows[2]["weight_bytes_per_step"] == 4 * rows[2]["multiply_adds_per_sample"]
    assert str(clone) not in sys.path


def test_several_peers_run_beside_and_the_first_is_what_all_are_compared_with(
    bench: Bench, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = ["--peer", f"hifigan={clone}", "--peer", f"r9y9={clone}"]
    rows = bench("--engine", "torch", "--threads", "1", *peers)
    names = ["HiFi-GAN V1", "HiFi-GAN V2", "HiFi-GAN V3", "r9y9 egs/mol"]
    assert [row["network"] for row in rows[1:]] == names
    assert rows[1]["times_peer"] == 1
    assert rows[1]["multiply_adds_per_sample"] is rows[1]["peak_fraction"] is None
    assert main(["bench", "--repeats", "1", "--seconds", "1e-6", "--engine", "torch", "--threads", "1", *peers]) == 0
    assert "HiFi-GAN V3" in capsys.readouterr().out


def test_torchaudio_s_wavernn_runs_beside(bench: Bench) -> None:
    pytest.importorskip("torchaudio")
    rows = bench("--engine", "torch", "--threads", "1", "--peer", "wavernn")
    assert rows[1]["network"] == "WaveRNN"
    assert rows[1]["samples_per_run"] == 275
    # x_t, I, first GRU; second GRU; two layers of 512; 256 classes
    gru = 3 * 512 * (512 + 512)
    assert (
        rows[1]["multiply_adds_per_sample"]
        == 512 * (1 + 80 + 32) + gru + gru + 3 * 512 * 32 + 2 * 512 * (512 + 32) + 512 * 256
    )


def test_what_a_peer_s_own_code_needs_is_named(tmp_path: Path, forget: Callable[[str], None]) -> None:
    forget("wavenet_vocoder")
    (tmp_path / "wavenet_vocoder.py").write_text("import docopt_of_old", encoding="utf-8")
    with pytest.raises(ValueError, match=r"--peer r9y9: its own code needs docopt_of_old. Run `pip install docopt_of"):
        build_peers("r9y9", str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--network", "wavenet-65"],
            f"--network must be one of {', '.join(NETWORKS)}, but is 'wavenet-65'",
        ),
        (["--engine", "fast"], "--engine must be of auto, native, torch, graphs, triton, but is 'fast'"),
        (["--precision", "fp16"], "--precision must be of auto, w8a16, fp32, int16, bf16, int8, but is 'fp16'"),
        (["--engine", "torch", "--precision", "w8a16"], "of the engine 'torch' must be of auto, fp32, but is w8a16"),
        (["--streams", "1,0"], "--streams must be at least 1, but is 0"),
        (["--threads", "two"], "--threads must be whole numbers with commas between them, but is 'two'"),
        (["--streams", ""], "--streams must be whole numbers"),
        (["--repeats", "0"], "--repeats must be at least 1, but is 0"),
        (["--seconds", "0"], "--seconds must be positive, but is 0"),
        (["--seconds", "nan"], "--seconds must be positive, but is nan"),
        (
            ["--engine", "torch", "--peer", "waveglow"],
            "--peer must be of r9y9, wavernn, hifigan, vocos, but is 'waveglow'",
        ),
        (["--device", "warp"], "`device` must be one that torch has here, cpu or cuda say, but is 'warp'"),
        (["--engine", "torch", "--peer", "r9y9=nowhere"], "--peer r9y9 must be a clone of github.com/r9y9/wavenet"),
    ],
)
def test_a_bad_option_is_named_with_a_remedy(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *flags]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("vocoder: error: ")
    assert message in output.err
    assert output.err.count("\n") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_row_of_a_gpu_has_its_name_and_none_of_the_processors_limits(bench: Bench) -> None:
    (row,) = bench("--device", "cuda", "--threads", "1")
    assert row["engine"] == "graphs"
    assert row["machine"] == torch.cuda.get_device_name()
    assert row["bandwidth_fraction"] is None
    assert row["peak_fraction"] is None


def test_an_engine_that_cannot_run_says_why(without_library: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--engine", "native"]) == 2
    assert "The native engine was not built" in capsys.readouterr().err


def information(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name.strip(): fact for name, fact in (line.split("  ", 1) for line in lines)}


def test_info_names_versions_cores_voices_and_every_engine(capsys: pytest.CaptureFixture[str]) -> None:
    facts = information(capsys)
    assert facts["torch"].strip() == torch.__version__
    assert "kathleen-64" in facts["voices"]
    assert int(facts["cores"].split()[0]) >= 1
    assert all(f"engine {kind.name}" in facts for kind in ENGINES)
    assert all(name in facts["engine torch"] for name in ReferenceEngine.precisions)


def test_info_says_what_is_missing_and_what_would_help(
    without_library: None, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = information(capsys)
    assert "Install a C++ compiler" in facts["engine native"]
    assert "ready" in facts["engine torch"]


@needs_library
def test_info_survives_an_instruction_set_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOCODER_ISA", "mmx")
    assert "VOCODER_ISA must be one of" in information(capsys)["instruction sets"]
