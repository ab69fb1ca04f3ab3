"""`vocoder predict` makes what `infer` makes, once for each file, over any processes, and past what cannot be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import speech_like_mel, tiny_config, tiny_network

pytest.importorskip("lightning")
from vocoder.cli import main
from vocoder.inference.vocoder import Vocoder
from vocoder.training.predict import SourceFiles

# Lightning 2.6 calls torch by names that it announces to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]

FILES = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model, and mels from ten frames on."""
    root, config = tmp_path_factory.mktemp("set"), tiny_config()
    Vocoder(config, tiny_network(config)).save_pretrained(root / "model")
    (root / "mels").mkdir()
    for index in range(FILES):
        np.save(root / "mels" / f"{index:02d}.npy", speech_like_mel(config.mel, 10 + index)[0].numpy())
    return root


def command(folder: Path, out: Path, *options: str) -> list[str]:
    return ["predict", str(folder / "mels"), "--model", str(folder / "model"), "--output-dir", str(out), *options]


def start(folder: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """In a process group of its own, which can be killed with all that it starts."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "vocoder", *command(folder, out, *options)],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def expected(folder) -> dict[str, bytes]:
    """What `infer` makes of each file alone."""
    for path in sorted((folder / "mels").iterdir()):
        assert main(["infer", str(path), "--model", str(folder / "model"), "--output-dir", str(folder / "infer")]) == 0
    return contents(folder / "infer")


def test_a_set_becomes_what_infer_makes_of_each_file(folder, expected, tmp_path, capsys):
    assert main(command(folder, tmp_path / "out", "--batch-size", "5")) == 0
    assert f"{FILES} files: {FILES} made, 0 there before, 0 left out" in capsys.readouterr().out
    assert contents(tmp_path / "out") == expected


def test_what_is_there_is_left_alone(folder, expected, tmp_path, capsys):
    (tmp_path / "03.wav").write_bytes(b"of an earlier start")
    assert main(command(folder, tmp_path)) == 0
    assert f"{FILES} files: {FILES - 1} made, 1 there before, 0 left out" in capsys.readouterr().out
    assert contents(tmp_path) == {**expected, "03.wav": b"of an earlier start"}


def test_files_that_cannot_be_read_are_left_out_and_named_in_the_end(folder, expected, tmp_path, capsys):
    (tmp_path / "bad.npy").write_bytes(b"no array")
    np.save(tmp_path / "far.npy", np.full((8, 20), 1e4, dtype=np.float32))
    given = [str(tmp_path / "bad.npy"), str(tmp_path / "far.npy"), *command(folder, tmp_path / "out")[1:]]
    assert main(["predict", *given]) == 2
    said = capsys.readouterr()
    assert f"{FILES + 2} files: {FILES} made, 0 there before, 2 left out" in said.out
    assert "2 of 26 could not" in said.err
    assert f"{tmp_path / 'bad.npy'}: it holds no array" in said.err
    assert f"{tmp_path / 'far.npy'}: " in said.err
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
def test_two_processes_share_out_the_files_and_go_on_after_a_kill(folder, expected, tmp_path):
    """Killed by SIGKILL as soon as some files are there; what comes after makes the others."""
    options = ("--devices", "2", "--batch-size", "1")
    tmp_path = tmp_path / "out"
    process = start(folder, tmp_path, *options)
    while process.poll() is None and not (tmp_path.is_dir() and len(contents(tmp_path)) >= 3):
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    begun = contents(tmp_path)
    assert 3 <= len(begun) < FILES, (folder / "log").read_text()
    assert begun.items() <= expected.items()  # each is whole
    assert start(folder, tmp_path, *options).wait(timeout=120) == 0, (folder / "log").read_text()
    made = FILES - len(begun)
    assert f"{FILES} files: {made} made, {len(begun)} there before, 0 left out" in (folder / "log").read_text()
    assert contents(tmp_path) == expected


def test_more_processes_than_files_are_refused(folder, tmp_path, capsys):
    one = ["predict", str(folder / "mels" / "00.npy"), *command(folder, tmp_path)[2:], "--devices", "2"]
    assert main(one) == 2
    assert "there are 1 for 2 processes. Ask for fewer" in capsys.readouterr().err


def test_a_file_is_read_when_its_turn_comes_and_not_if_it_is_made():
    read = []
    pieces = SourceFiles({Path("a"): Path("nowhere/a.wav"), Path("b"): Path(__file__)}, lambda path: read.append(path))
    assert len(pieces) == 2
    assert read == []
    assert [pieces[index].problem for index in range(2)] == [None, None]
    assert read == [Path("a")]
