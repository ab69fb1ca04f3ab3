"""A recipe can be written for any sample rate and any dialect; it trains, and what it trained infers."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from vocoder.bundles.bundle import load_checkpoint
from vocoder.cli.recipes import add_new_recipe
from vocoder.config import NETWORKS, MelConfig, NetworkConfig, check_steps, from_dict
from vocoder.features.design import design_mel, filterbank_rank
from vocoder.features.dialects import DIALECTS
from vocoder.inference.vocoder import Vocoder
from vocoder.model.pitch_lag import PitchLag
from vocoder.training.recipe import network_for, write_recipe

RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)


def new_recipe(folder: Path, *arguments: str) -> Path:
    """`vocoder new-recipe mine ARGUMENTS`."""
    parser = argparse.ArgumentParser()
    add_new_recipe(parser.add_subparsers())
    options = parser.parse_args(["new-recipe", "mine", "--output", str(folder), *arguments])
    options.run(options)
    return folder / "mine"


def read(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "train.yaml").read_text())  # type: ignore[no-any-return]


def mel_of(folder: Path) -> MelConfig:
    return from_dict(MelConfig, read(folder)["model"]["mel"])


@pytest.mark.parametrize("rate", RATES)
def test_a_designed_mel_fits_its_rate(rate: int) -> None:
    mel = design_mel(rate)
    assert abs(mel.hop_length / rate / (256 / 22_050) - 1) < 0.04
    assert mel.win_length == 4 * mel.hop_length
    assert math.log2(mel.n_fft).is_integer()
    assert mel.win_length <= mel.n_fft
    assert (mel.sample_rate, mel.f_max) == (rate, rate / 2)
    assert filterbank_rank(mel) == mel.n_mels == 80


def test_lengths_at_the_usual_rate_are_the_usual_ones() -> None:
    assert design_mel(22_050) == MelConfig(f_max=11_025.0)


@pytest.mark.parametrize(
    ("rate", "ms", "hop_length"),
    [
        (48_000, 10, 480),
        (24_000, 12.5, 300),
        (16_000, 12.5, 200),
        (44_100, 10, 448),  # not 440 = 8 · 5 · 11, nor the odd 441
        (44_100, 11.9, 512),  # not the odd 525, nor 528 = 16 · 3 · 11
    ],
)
def test_a_hop_is_the_nearest_even_number_of_small_factors(rate: int, ms: float, hop_length: int) -> None:
    assert design_mel(rate, hop_seconds=ms / 1000).hop_length == hop_length
    small = [n for n in range(2, 1000, 2) if 210**9 % n == 0]  # divides a power of 2 · 3 · 5 · 7
    assert min(small, key=lambda n: abs(n - rate * ms / 1000)) == hop_length


def test_128_bands_at_44100_hz_have_rank_118_with_1024_points_and_get_2048() -> None:
    """The lengths of BigVGAN's 44 kHz models."""
    assert filterbank_rank(MelConfig(sample_rate=44_100, n_mels=128, f_max=22_050.0)) == 118
    mel = design_mel(44_100, hop_seconds=256 / 44_100, n_mels=128)
    assert (mel.win_length, mel.n_fft, filterbank_rank(mel)) == (1024, 2048, 128)


def test_a_filterbank_has_no_more_rank_than_bins() -> None:
    assert filterbank_rank(MelConfig(n_fft=128, win_length=128, hop_length=64, f_max=11_025.0)) <= 65


@pytest.mark.parametrize("like", NETWORKS)
@pytest.mark.parametrize("rate", RATES)
def test_a_network_sees_about_as_far_back_at_every_rate(rate: int, like: str) -> None:
    usual, ours = NETWORKS[like], network_for(design_mel(rate), like)
    ratio = ours.receptive_field / rate / (usual.receptive_field / 22_050)
    assert 2**-0.5 * 0.97 < ratio < 2**0.5 * 1.03  # a cycle of n layers reaches 2**n - 1 steps, not 2**n
    fitted = {"layers_per_cycle": 0, "samples_per_step": 0}
    assert {**vars(ours), **fitted} == {**vars(usual), **fitted}


def test_layers_are_counted_for_their_rate() -> None:
    networks = [network_for(design_mel(rate), "wavenet-64") for rate in RATES]
    assert [network.layers_per_cycle for network in networks] == [9, 10, 10, 10, 11, 11]


@pytest.mark.parametrize(
    ("hop_length", "samples"), [(275, 5), (300, 6), (256, 8), (200, 8), (240, 8), (160, 8), (441, 7), (257, 1)]
)
def test_a_step_is_the_longest_up_to_the_named_one_that_divides_the_hop(hop_length: int, samples: int) -> None:
    mel = MelConfig(hop_length=hop_length)
    assert network_for(mel).samples_per_step == samples
    assert network_for(mel, "wavenet-64").samples_per_step == 1
    assert network_for(mel, "wavenet-64-g4").samples_per_step <= 4


def test_a_step_is_no_longer_than_the_shortest_lag_of_an_echo() -> None:
    mel = MelConfig(sample_rate=4000, f_max=2000.0, n_fft=256, win_length=256, hop_length=48, n_mels=20)
    assert PitchLag(mel).shortest_lag == 6
    assert network_for(mel).samples_per_step == 6


@pytest.mark.parametrize("like", NETWORKS)
@pytest.mark.parametrize("name", DIALECTS)
def test_every_network_fits_every_dialect(name: str, like: str) -> None:
    check_steps(network_for(DIALECTS[name], like), DIALECTS[name])


def test_the_default_is_the_default_network() -> None:
    assert network_for(MelConfig()) == NetworkConfig()


@pytest.mark.parametrize("name", DIALECTS)
def test_a_recipe_says_every_dialect_exactly(name: str, tmp_path: Path) -> None:
    new_recipe(tmp_path, "--dialect", name, "--like", "r9y9-mol")
    mel = mel_of(tmp_path / "mine")
    assert mel == DIALECTS[name]
    network = from_dict(NetworkConfig, read(tmp_path / "mine")["model"]["network"])
    assert network == network_for(mel, "r9y9-mol")


def test_a_recipe_speaks_of_itself(tmp_path: Path) -> None:
    folder = new_recipe(tmp_path, "--sample-rate", "44100")
    assert read(folder)["run"]["folder"] == "runs/mine"
    page = (folder / "README.md").read_text()
    assert f"--config {folder.as_posix()}/train.yaml" in page
    assert "a frame each 512 samples (11.6 ms)" in page
    assert "with 11 layers in each cycle of dilations: it sees 743 ms back" in page
    assert "one step of these layers makes: 8, which divides the hop" in page


def test_a_dialect_that_cannot_tell_its_bands_apart_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_recipe(tmp_path, "--dialect", "bigvgan-44k")
    assert "128 bands up to 22050 Hz with n_fft 1024 at 44100 Hz have rank 118" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "needs --sample-rate or --dialect"),
        ("--sample-rate 0", r"`sample_rate` must lie between 4000 and 192000 Hz, but is 0\."),
        ("--sample-rate 44", "`sample_rate` must lie between 4000 and 192000 Hz, but is 44"),
        ("--sample-rate 8000 --hop-ms 0", "`hop_seconds` must lie between 0.001 and 0.05 s, but is 0"),
        ("--sample-rate 8000 --hop-ms nan", "`hop_seconds` must lie between"),
        ("--sample-rate 8000 --n-mels 0", "`n_mels` must lie between 1 and 512 bands, but is 0"),
        ("--sample-rate 8000 --n-mels 5000", "`n_mels` must lie between 1 and 512 bands, but is 5000"),
        ("--sample-rate 8000 --n-mels 500", r"500 bands .* have rank \d+: \d+ say nothing .*Take fewer bands"),
        (
            "--sample-rate 8000 --like wavenet-9",
            "`like` must be one of .* but is 'wavenet-9'. Take wavenet-64-g8",
        ),
        ("--dialect esperanto", "--dialect must be one of .*hifigan.*, but is 'esperanto'"),
        ("--dialect hifigan --n-mels 90", "hifigan has 22050 Hz, .* but --n-mels was given. Leave it out"),
        ("--dialect hifigan --sample-rate 8000", "hifigan has 22050 Hz, .* but --sample-rate was given"),
    ],
)
def test_wishes_that_cannot_be_are_refused_and_nothing_is_written(
    arguments: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        new_recipe(tmp_path, *arguments.split())
    assert list(tmp_path.iterdir()) == []


def test_the_dialects_own_sample_rate_may_be_said_again(tmp_path: Path) -> None:
    assert mel_of(new_recipe(tmp_path, "--dialect", "hifigan", "--sample-rate", "22050")) == MelConfig()


@pytest.mark.parametrize("name", ["a/b", "", "..", ".hidden", "two words"])
def test_a_name_that_is_none_for_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Say where it shall be made with --output"):
        write_recipe(tmp_path, name, MelConfig(), origin="")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match=r"Nothing is replaced unasked, but there is .*mine\. Take another name"):
        new_recipe(tmp_path, "--sample-rate", "8000")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_recipe_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Path, text: str, **options: Any) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", broken)
    with pytest.raises(OSError, match="no space left"):
        new_recipe(tmp_path, "--sample-rate", "8000")
    assert list(tmp_path.iterdir()) == []


def make_corpus(root: Path, rate: int) -> Path:
    """Four sentences of half a second: a hum that comes and goes, and some hiss."""
    root.mkdir()
    random, time = np.random.default_rng(0), np.arange(rate // 2) / rate
    for index in range(4):
        hum = 0.3 * np.sin(2 * np.pi * (150 + 20 * index) * time) * np.sin(2 * np.pi * 3 * time) ** 2
        soundfile.write(root / f"{index}.wav", hum + 0.01 * random.standard_normal(len(time)), rate)
    return root


def small_run(root: Path, rate: int) -> Path:
    """On top of a recipe: a network of few channels, a run of four steps."""
    values = {
        "run": {"folder": str(root / "run"), "checkpoint_every": 2, "clip_frames": 0, "logger": "none"},
        "data": {"root": str(make_corpus(root / "corpus", rate)), "validation_frames": 20, "num_workers": 0},
        "model": {
            "network": {
                "residual_channels": 8,
                "gate_channels": 16,
                "skip_channels": 8,
                "sample_channels": 8,
                "conditioning_channels": 8,
            }
        },
        "trainer": {
            "max_steps": 4,
            "val_check_interval": 4,
            "log_every_n_steps": 2,
            "accelerator": "cpu",
            "precision": "32-true",
            "enable_progress_bar": False,
        },
    }
    (root / "small.yaml").write_text(yaml.safe_dump(values))
    return root / "small.yaml"


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning")
@pytest.mark.parametrize("rate", RATES)
def test_a_recipe_trains_and_its_model_infers(rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning")
    from vocoder.features.mel import LogMelSpectrogram
    from vocoder.training.cli import main

    folder = new_recipe(tmp_path / "recipes", "--sample-rate", str(rate))
    arguments = ["fit", "--config", str(folder / "train.yaml"), "--config", str(small_run(tmp_path, rate))]
    monkeypatch.setattr("sys.argv", ["vocoder", *arguments])
    main(arguments)
    bundle = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert bundle.config.mel == design_mel(rate)
    expected = network_for(design_mel(rate))
    assert bundle.config.network.dilations == expected.dilations
    assert bundle.config.network.samples_per_step == expected.samples_per_step
    waveform = torch.from_numpy(soundfile.read(tmp_path / "corpus" / "0.wav", dtype="float32")[0])
    mel = LogMelSpectrogram(bundle.config.mel)(waveform[None])[0, :, 10:14]
    generated = Vocoder(bundle.config, bundle.network, bundle.training).infer(mel)
    assert generated.shape == (4 * bundle.config.mel.hop_length,)
    assert generated.std() > 0
