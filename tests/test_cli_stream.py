"""`vocoder infer --stream`: frames on stdin, PCM on stdout, the same samples as in a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.cli import main
from vocoder.cli.stream import read_frames
from vocoder.features.audio import to_levels
from vocoder.inference.vocoder import Vocoder

FRAMES = 40


@pytest.fixture
def model() -> Vocoder:
    config = tiny_config()
    return Vocoder(config, tiny_network(config))


@pytest.fixture
def mel(model: Vocoder) -> Tensor:
    return speech_like_mel(model.mel, FRAMES)[0]


@pytest.fixture
def command(model: Vocoder, tmp_path: Path) -> list[str]:
    model.save_pretrained(tmp_path / "model")
    return ["infer", "--stream", "--model", str(tmp_path / "model"), "--seed", "4"]


def as_bytes(mel: Tensor) -> bytes:
    return mel.T.contiguous().numpy().astype("<f4").tobytes()


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Puts bytes on stdin."""
    with ExitStack() as files:

        def put(data: bytes) -> None:
            (tmp_path / "frames").write_bytes(data)
            monkeypatch.setattr("sys.stdin", files.enter_context((tmp_path / "frames").open()))

        yield put


def test_a_pipe_gives_the_samples_of_a_file(command: list[str], model: Vocoder, mel: Tensor) -> None:
    process = [sys.executable, "-m", "vocoder", *command]
    result = subprocess.run(process, input=as_bytes(mel), capture_output=True, check=True)
    assert np.array_equal(np.frombuffer(result.stdout, "<i2"), to_levels(model.infer(mel, seed=4)))
    assert b"aplay -q -t raw -f S16_LE -c 1 -r 8000" in result.stderr


def test_a_pipe_is_sharpened_as_a_file_is(
    command: list[str], model: Vocoder, mel: Tensor, feed: Callable[[bytes], None], capfdbinary: Any
) -> None:
    feed(as_bytes(mel))
    assert main([*command, "--voiced-temperature", "0.5"]) == 0
    expected = to_levels(model.infer(mel, seed=4, voiced_temperature=0.5))
    assert np.array_equal(np.frombuffer(capfdbinary.readouterr().out, "<i2"), expected)
    assert not np.array_equal(expected, to_levels(model.infer(mel, seed=4)))


def test_samples_come_before_stdin_ends(command: list[str], model: Vocoder, mel: Tensor) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "vocoder", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(as_bytes(mel[:, :20]))
        process.stdin.flush()
        ready = (20 - model.config.network.margin_frames) * model.hop_length
        assert len(process.stdout.read(2 * ready)) == 2 * ready
        process.stdin.close()
        assert len(process.stdout.read()) == 2 * (20 * model.hop_length - ready)


def test_a_player_that_is_stopped_is_no_error(command: list[str], mel: Tensor) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = [sys.executable, "-m", "vocoder", *command]
    result = subprocess.run(process, input=as_bytes(mel), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert result.returncode == 0
    assert b"rror" not in result.stderr


def test_a_frame_cut_short_is_an_error_after_all_whole_ones(
    command: list[str],
    model: Vocoder,
    mel: Tensor,
    feed: Callable[[bytes], None],
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    feed(as_bytes(mel)[:-5])
    assert main(command) == 2
    out, err = capfdbinary.readouterr()
    assert b"frames of 8 float32 values, 32 bytes each, but ends 27 bytes into one" in err
    assert np.array_equal(np.frombuffer(out, "<i2"), to_levels(model.infer(mel[:, :-1], seed=4)))


@pytest.mark.parametrize("value", [float("nan"), -1e4])
def test_a_broken_frame_is_named(
    value: float,
    command: list[str],
    model: Vocoder,
    mel: Tensor,
    feed: Callable[[bytes], None],
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    mel[2, 31] = value
    feed(as_bytes(mel))
    assert main(command) == 2
    out, err = capfdbinary.readouterr()
    assert b"frame 31 of the stream" in err
    assert np.array_equal(np.frombuffer(out, "<i2"), to_levels(model.infer(mel[:, :31], seed=4)))  # none before is lost


@pytest.mark.parametrize("extra", [["a.npy"], ["--output-dir", "out"], ["--fold"], ["--overwrite"]], ids=str)
def test_what_belongs_to_files_is_refused(
    command: list[str], extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *extra]) == 2
    assert f"but there is {extra[0]}. Leave it out." in capsys.readouterr().err


def test_a_file_is_no_single_chunk(tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(bytes(4 * 8 * 1000))
    with (tmp_path / "frames").open("rb") as file:
        assert max(len(frames) for frames in read_frames(file, 8)) <= 16


def test_frames_are_taken_as_they_come_whatever_the_pipe_cuts() -> None:
    frames, (reading, writing) = np.arange(12, dtype="<f4").reshape(4, 3), os.pipe()
    data, seen = frames.tobytes(), []
    with os.fdopen(reading, "rb") as file:
        generator = read_frames(file, 3)
        for start in range(0, len(data), 7):
            os.write(writing, data[start : start + 7])
            seen.append(next(generator))
        os.close(writing)
        assert next(generator, None) is None
    assert np.array_equal(np.concatenate(seen), frames)
    assert torch.from_numpy(seen[-1]).dtype == torch.float32
