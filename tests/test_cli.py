"""The command line: files in, files out, and one clear message when something is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import vocoder
from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.cli import main
from vocoder.config import SamplingConfig, to_dict
from vocoder.features.audio import load_audio, save_audio, to_levels
from vocoder.features.conversion import resolve_dialect
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.vocoder import Vocoder

FRAMES = 4


@pytest.fixture
def model() -> Vocoder:
    config = tiny_config()
    return Vocoder(config, tiny_network(config))


@pytest.fixture
def folder(model: Vocoder, tmp_path: Path) -> Path:
    """A working directory with a model, a checkpoint, mels and speech."""
    model.save_pretrained(tmp_path / "model")
    mel = speech_like_mel(model.mel, FRAMES)[0]
    np.save(tmp_path / "a.npy", mel.numpy())
    torch.save(mel[None], tmp_path / "b.pt")
    soundfile.write(tmp_path / "c.flac", 0.1 * np.sin(np.arange(200)), model.sample_rate)
    state = {f"network.{key}": value for key, value in model.network.state_dict().items()}
    torch.save({"hyper_parameters": to_dict(model.config), "state_dict": state}, tmp_path / "last.ckpt")
    return tmp_path


def infer(folder: Path, *inputs: str, **options: Any) -> int:
    given = {f"--{key.replace('_', '-')}": value for key, value in options.items()}
    flags = [text for flag, value in given.items() for text in ([flag] if value is True else [flag, str(value)])]
    files = [str(folder / name) for name in inputs]
    return main(["infer", *files, "--model", str(folder / "model"), "--output-dir", str(folder / "out"), *flags])


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr: one message, no traceback."""
    message = capsys.readouterr().err
    assert message.startswith("vocoder: error: ")
    assert message.count("\n") == 1
    return message


def test_mels_and_audio_become_waveforms_of_the_same_name(folder: Path, model: Vocoder) -> None:
    options = {"seed": 3, "temperature": 0.9, "voiced_temperature": 0.5, "correction_passes": 1}
    assert infer(folder, "a.npy", "b.pt", **options) == 0
    expected = model.infer(np.load(folder / "a.npy"), **options)
    for name in ("a.wav", "b.wav"):  # the same mel: a file sounds the same in any company
        waveform, sample_rate = soundfile.read(folder / "out" / name, dtype="float32")
        assert sample_rate == model.sample_rate
        np.testing.assert_array_equal(waveform, to_levels(expected) / np.float32(32768))
    assert sorted(file.name for file in (folder / "out").iterdir()) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("seconds", [0, 1, 1200])
def test_in_groups_of_any_size_a_file_sounds_as_alone(
    folder: Path, model: Vocoder, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vocoder.cli.infer.GROUP_SECONDS", seconds)
    mels = {f"{frames}": speech_like_mel(model.mel, frames)[0] for frames in (800, 3, 700, 40)}
    for name, mel in mels.items():
        np.save(folder / f"{name}.npy", mel.numpy())
    assert infer(folder, *(f"{name}.npy" for name in mels)) == 0
    for name, mel in mels.items():
        waveform, _ = soundfile.read(folder / "out" / f"{name}.wav", dtype="float32")
        np.testing.assert_array_equal(waveform, model.infer(mel).numpy())


def test_files_before_a_damaged_one_are_made(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.npy").write_bytes(b"no such format")
    assert infer(folder, "a.npy", "b.pt", "bad.npy") == 2
    assert "bad.npy" in complaint(capsys)
    assert sorted(file.name for file in (folder / "out").iterdir()) == ["a.wav", "b.wav"]


def test_a_mel_that_no_sound_has_is_an_error_and_makes_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "far.npy", np.load(folder / "a.npy") + 100)
    assert infer(folder, "a.npy", "far.npy") == 2
    assert f"{folder / 'far.npy'}: `mel` should be a log-mel between" in complaint(capsys)
    assert [file.name for file in (folder / "out").iterdir()] == ["a.wav"]


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("without_library")
def test_that_the_engine_is_the_slow_one_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder, "a.npy", "b.pt") == 0
    assert "vocoder: warning: Generating with the slow reference engine" in capsys.readouterr().err


def test_files_that_have_ended_before_an_interruption_are_there(
    folder: Path, model: Vocoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(folder / "long.npy", speech_like_mel(model.mel, 60)[0].numpy())
    ended: list[str] = []

    def save_one(path: Path, *options: Any) -> None:
        if ended:
            raise KeyboardInterrupt
        ended.append(path.name)
        save_audio(path, *options)

    monkeypatch.setattr("vocoder.cli.infer.save_audio", save_one)
    assert infer(folder, "long.npy", "a.npy") == 130
    assert [file.name for file in (folder / "out").iterdir()] == ended


def test_audio_is_resynthesised_from_its_own_mel(folder: Path, model: Vocoder) -> None:
    pytest.importorskip("torchaudio")
    assert infer(folder, "c.flac") == 0
    assert len(soundfile.read(folder / "out" / "c.wav")[0]) == 200 // model.hop_length * model.hop_length


def test_progress_is_drawn_in_a_terminal_only(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    infer(folder, "a.npy")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    (folder / "out" / "a.wav").unlink()
    infer(folder, "a.npy")
    assert "64.0/64.0" in capsys.readouterr().err


def test_nothing_is_overwritten_unasked_and_nothing_else_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "b.wav").write_bytes(b"precious")
    assert infer(folder, "a.npy", "b.pt") == 2
    assert "b.wav. Pass --overwrite" in complaint(capsys)
    assert [file.name for file in (folder / "out").iterdir()] == ["b.wav"]
    assert main(["infer", str(folder / "b.pt"), "--model", str(folder / "model"), "--output-dir", str(folder / "out"),
                 "--overwrite"]) == 0  # fmt: skip
    assert (folder / "out" / "b.wav").read_bytes() != b"precious"


def test_missing_inputs_are_all_named_before_any_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder, "a.npy", "x.npy", "y.npy") == 2
    message = complaint(capsys)
    assert "x.npy" in message
    assert "y.npy" in message
    assert not (folder / "out").exists()


def test_two_inputs_of_one_name_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.pt").write_bytes((folder / "b.pt").read_bytes())
    assert infer(folder, "a.npy", "a.pt") == 2
    assert "would both become" in complaint(capsys)


def test_an_input_is_never_replaced_by_its_own_copy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    soundfile.write(folder / "out" / "c.wav", np.zeros(200), 8000)
    assert main(["infer", str(folder / "out" / "c.wav"), "--output-dir", str(folder / "out"), "--overwrite"]) == 2
    assert "c.wav is an input, and" in complaint(capsys)


def test_an_output_folder_that_cannot_be_written_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").write_text("a file")
    assert infer(folder, "a.npy") == 2
    assert "An output's folder must be writable, but" in complaint(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "`seed` must lie between"),
        ({"temperature": 0}, "`temperature` must be positive"),
        ({"voiced_temperature": 2}, "`voiced_temperature` must be above 0 and at most 1, but is 2"),
        ({"engine": "warp"}, "`engine` must be one of auto"),
        ({"speaker": 1}, "single voice"),
        ({"model": "nobody"}, "there is no 'nobody'"),
    ],
)
def test_a_wrong_option_gives_one_clear_message(
    folder: Path, options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(folder, "a.npy", **options) == 2
    assert message in complaint(capsys)


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".wav"])
def test_a_damaged_input_is_named(folder: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / f"bad{suffix}").write_bytes(b"no such format" * 9)
    assert infer(folder, f"bad{suffix}") == 2
    assert f"bad{suffix}" in complaint(capsys)
    assert not list((folder / "out").iterdir())


def test_arrays_of_objects_are_not_unpickled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert infer(folder, "objects.npy") == 2
    assert "objects.npy: it holds no array" in complaint(capsys)


def test_an_exported_checkpoint_sounds_like_the_network_it_holds(folder: Path, model: Vocoder) -> None:
    assert main(["export", str(folder / "last.ckpt"), str(folder / "exported")]) == 0
    mel = np.load(folder / "a.npy")
    assert torch.equal(vocoder.infer(mel, folder / "exported"), model.infer(mel, correction_passes=2))


def test_export_replaces_a_model_only_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(folder / "last.ckpt"), str(folder / "model")]
    assert main(arguments) == 2
    assert "holds a model. Pass --overwrite" in complaint(capsys)
    assert main([*arguments, "--overwrite"]) == 0


def test_export_of_a_missing_checkpoint_names_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(folder / "none.ckpt"), str(folder / "new")]) == 2
    assert "none.ckpt" in complaint(capsys)


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_training_commands_are_passed_on_untouched(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("vocoder.cli._import_training", lambda: lambda given: seen.append(given) or 2)
    assert main([command, "--config", "x.yaml", "--help"]) == 2
    assert seen == [[command, "--config", "x.yaml", "--help"]]


def test_without_lightning_training_names_the_remedy(
    forget: Callable[[str], None], without_package: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    forget("vocoder.training")
    without_package("lightning")
    assert main(["fit"]) == 2
    assert "pip install 'vocoder[train]'" in complaint(capsys)


@pytest.mark.parametrize(
    ("command", "room", "package"),
    [
        (["evaluate", "--corpus", "x", "--output-dir", "y"], "evaluation", "torchmetrics"),
        (["demo"], "evaluation", "torchmetrics"),
        (["listening-results", "x", "y.csv"], "evaluation", "scipy"),
        (["plot", "kernel", "kathleen-64", "--output", "x.png"], "plots", "matplotlib"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_without_their_packages_measuring_and_plotting_name_the_remedy(
    command: list[str],
    room: str,
    package: str,
    forget: Callable[[str], None],
    without_package: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    forget(f"vocoder.{room}")
    without_package(package)
    assert main(command) == 2
    assert f"needs {package}" in (message := complaint(capsys))
    assert "pip install 'vocoder[eval]'" in message


def test_the_module_is_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "vocoder", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == vocoder.__version__


def test_statistics_alone_are_those_of_the_model_s_own_dialect(folder: Path, model: Vocoder) -> None:
    (folder / "stats.json").write_text('{"mean": -6.0, "std": 2.0}')
    normal = LogMelSpectrogram(resolve_dialect(model.mel, (-6.0, 2.0)))
    waveform = load_audio(folder / "c.flac", model.sample_rate)
    command = ["infer", "--model", str(folder / "model"), "--output-dir", str(folder / "out")]
    assert main([*command, "--stats", str(folder / "stats.json"), str(folder / "c.flac")]) == 0
    written, _ = soundfile.read(folder / "out" / "c.wav", dtype="float32")
    expected = model.infer(normal(waveform[None])[0], stats=(-6.0, 2.0))
    np.testing.assert_allclose(written, expected.numpy(), rtol=0, atol=1 / 32768)


@pytest.mark.parametrize("shape", [(), (8,), (2, 8, 4)], ids=str)
@pytest.mark.parametrize("options", [[], ["--dialect", "espnet"]], ids=str)
def test_a_file_of_something_else_than_one_mel_is_refused(
    folder: Path, shape: tuple[int, ...], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "odd.npy", np.zeros(shape, np.float32))
    command = ["infer", "--model", str(folder / "model"), "--output-dir", str(folder / "out"), *options]
    assert main([*command, str(folder / "odd.npy")]) == 2
    assert "odd.npy: `mel` must have shape" in capsys.readouterr().err
    assert not (folder / "out" / "odd.wav").exists()


@pytest.mark.filterwarnings("default")
def test_a_warning_names_the_file_and_no_line_of_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(folder / "loud.npy", np.load(folder / "a.npy") + 15)
    assert infer(folder, "a.npy", "loud.npy") == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vocoder: warning: {folder / 'loud.npy'}: `mel` should be a log-mel between")


def test_statistics_can_be_two_numbers(folder: Path, model: Vocoder) -> None:
    mel = np.load(folder / "a.npy")
    np.save(folder / "normal.npy", (mel + 6) / 2)
    np.save(folder / "stats.npy", np.array([-6.0, 2.0]))
    expected = model.infer((mel + 6) / 2, stats=(-6.0, 2.0))
    for stats in ("-6.0,2.0", str(folder / "stats.npy")):
        command = ["infer", "--model", str(folder / "model"), "--output-dir", str(folder / "out"), f"--stats={stats}"]
        assert main([*command, "--overwrite", str(folder / "normal.npy")]) == 0
        written, _ = soundfile.read(folder / "out" / "normal.wav", dtype="float32")
        np.testing.assert_array_equal(written, expected.numpy())


# --- which files, and where to


def waveform_of(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def run(folder: Path, *arguments: str | Path) -> int:
    return main(["infer", *map(str, arguments), "--model", str(folder / "model")])


def test_without_an_output_a_waveform_lies_beside_its_input_under_another_name(folder: Path, model: Vocoder) -> None:
    pytest.importorskip("torchaudio")
    before = (folder / "c.flac").read_bytes()
    assert run(folder, folder / "a.npy", folder / "c.flac", "--format", "flac") == 0
    assert (folder / "c.flac").read_bytes() == before
    expected = model.infer(np.load(folder / "a.npy"))
    np.testing.assert_array_equal(waveform_of(folder / "a.flac"), to_levels(expected) / np.float32(32768))
    assert len(waveform_of(folder / "c.copy.flac")) == 192


@pytest.mark.parametrize(
    ("output", "options", "made"),
    [
        ("new/x.wav", [], "new/x.wav"),
        ("new/X.OGG", [], "new/X.OGG"),
        ("new", [], "new/a.wav"),
        ("new.folder", ["--format", "ogg"], "new.folder/a.ogg"),
        ("there.wav", [], "there.wav/a.wav"),
        ("x.flac", ["--format", "flac"], "x.flac"),
    ],
)
def test_an_output_is_a_file_by_its_suffix_or_a_folder(
    folder: Path, output: str, options: list[str], made: str
) -> None:
    (folder / "there.wav").mkdir()
    assert run(folder, folder / "a.npy", "-o", folder / output, *options) == 0
    assert len(waveform_of(folder / made)) == FRAMES * 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.npy", "b.pt", "-o", "x.wav"], "for 2 of them there is one name, x.wav. Name a folder"),
        (["a.npy", "-o", "x.wav", "--format", "ogg"], "must agree, but are x.wav and ogg"),
        (["a.npy", "-o", "x.mp3"], "written as wav, flac, ogg, but not as mp3"),
        (["a.npy", "--format", "flac", "--bits", "float"], "flac has 16 or 24 bits, but float"),
        (["a.npy", "-o", "x.ogg", "--bits", "16"], "ogg is compressed with loss"),
        (["c.flac", "-o", "c.flac", "--overwrite"], "c.flac is an input, and c.flac would replace it"),
        (["a.npy", "c.flac", "-o", ".", "--format", "flac", "--overwrite"], "c.flac is an input"),
        (["a.npy", "--device", "warp"], "`device` must be one that torch has here"),
        ([], "needs files, or --stream"),
    ],
    ids=str,
)
def test_what_cannot_be_written_so_is_refused_before_any_work(
    folder: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert run(folder, *arguments) == 2
    assert message in complaint(capsys)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("bits", ["16", "24", "float"])
def test_a_file_has_the_bits_that_are_asked_for(folder: Path, model: Vocoder, bits: str) -> None:
    assert run(folder, folder / "a.npy", "-o", folder / "x.wav", "--bits", bits) == 0
    assert soundfile.info(folder / "x.wav").subtype == ("FLOAT" if bits == "float" else f"PCM_{bits}")
    expected = model.infer(np.load(folder / "a.npy")).numpy()
    step = 0.0 if bits == "float" else 2.0 ** (1 - int(bits))
    np.testing.assert_allclose(waveform_of(folder / "x.wav"), expected, rtol=0, atol=step / 2)


@pytest.mark.parametrize("batch", [False, True])
def test_an_archive_of_one_array_is_a_mel(folder: Path, batch: bool) -> None:
    mel = np.load(folder / "a.npy")
    np.savez(folder / "one.npz", anything=mel[None] if batch else mel)
    assert run(folder, folder / "one.npz", folder / "a.npy") == 0
    np.testing.assert_array_equal(waveform_of(folder / "one.wav"), waveform_of(folder / "a.wav"))


@pytest.mark.parametrize(("arrays", "found"), [({"mean": 1.0, "std": 2.0}, "mean, std"), ({}, "none")], ids=str)
def test_an_archive_of_another_number_of_arrays_is_refused(
    folder: Path, arrays: dict[str, float], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(folder / "some.npz", **arrays)
    assert run(folder, folder / "some.npz") == 2
    assert f"some.npz: it must hold one array, but holds {found}. Save the mel alone." in complaint(capsys)


def test_a_folder_means_the_mels_and_audio_in_it_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchaudio")
    speech = folder / "speech"
    (speech / "below").mkdir(parents=True)
    for name in ("z.npy", ".hidden.npy", "below/y.npy"):
        np.save(speech / name, np.load(folder / "a.npy"))
    for name in ("a.flac", "z.flac"):  # the latter is the recording of a mel, or was made of it
        (speech / name).write_bytes((folder / "c.flac").read_bytes())
    (speech / "notes.txt").write_text("no input")
    assert run(folder, speech) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in lines[:-1]) == [str(speech / "a.copy.wav"), str(speech / "z.wav")]
    assert run(folder, speech, "--overwrite") == 0  # what was made is no input
    assert len(list(speech.glob("*.wav"))) == 2


def test_one_file_under_two_names_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert run(folder, "a.npy", folder / "a.npy") == 2
    assert "would both become" in complaint(capsys)


def test_a_folder_without_mels_and_audio_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    assert run(folder, folder / "empty") == 2
    assert "empty holds no input: looked for files ending in" in complaint(capsys)


def test_each_file_that_is_done_is_a_line_and_several_have_a_total(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = r"\d+\.\d"
    assert infer(folder, "a.npy") == 0
    [line] = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{re.escape(str(folder))}/out/a\.wav  0\.01 s  {number} × real time", line)
    assert infer(folder, "a.npy", "b.pt", overwrite=True) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert sorted(Path(line.split()[0]).name for line in lines) == ["a.wav", "b.wav"]
    assert re.fullmatch(rf"2 files  0\.02 s  {number} × real time, reading and writing included", total)


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 9 GiB"), RuntimeError("unable to mmap 25500 bytes: Cannot allocate memory"),
     RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte.\nframe #0"),
     RuntimeError("could not create a primitive"), RuntimeError("can't start new thread"), MemoryError()],
    ids=repr,
)  # fmt: skip
def test_memory_that_runs_out_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Vocoder, "from_pretrained", fail)
    assert main(["infer", "--model", str(folder / "model"), "-o", str(folder / "new"), str(folder / "a.npy")]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"vocoder: error: Memory has run out \(.+\)\. Give less at a time, or free some\.\n", said)


def test_ctrl_c_is_no_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Vocoder, "infer", interrupt)
    command = ["infer", "--model", str(folder / "model"), "--output-dir", str(folder / "out"), str(folder / "a.npy")]
    assert main(command) == 130


def test_export_keeps_what_it_is_told_of_the_data(folder: Path) -> None:
    facts = ["--data", "my voice", "--licence", "CC0-1.0", "--language", "en"]
    assert main(["export", str(folder / "last.ckpt"), str(folder / "voice"), *facts]) == 0
    training = Vocoder.from_pretrained(folder / "voice").training
    assert (training["data"], training["licence"], training["language"]) == ("my voice", "CC0-1.0", "en")


def test_export_declares_the_sampling_and_halves_the_weights(folder: Path, model: Vocoder) -> None:
    whole, half = folder / "whole", folder / "half"
    assert main(["export", str(folder / "last.ckpt"), str(whole), "--voiced-temperature", "0.7"]) == 0
    assert main(["export", str(folder / "last.ckpt"), str(half), "--half", "--correction-passes", "0"]) == 0
    assert Vocoder.from_pretrained(whole).config.sampling == SamplingConfig(0.7, 2)
    assert Vocoder.from_pretrained(half).config == model.config
    sizes = [(path / "model.safetensors").stat().st_size for path in (half, whole)]
    assert sizes[0] < 0.8 * sizes[1]  # names and shapes are a part of so small a file
    weights, rounded = (Vocoder.from_pretrained(path).network.state_dict() for path in (whole, half))
    for name, weight in weights.items():
        torch.testing.assert_close(rounded[name], weight, rtol=2**-11, atol=1e-7)
        assert rounded[name].dtype == torch.float32


def test_a_sharpening_that_is_none_is_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder / "last.ckpt"), str(folder / "new"), "--voiced-temperature", "1.2"]) == 2
    assert "voiced_temperature must be above 0 and at most 1, but is 1.2" in complaint(capsys)
    assert not (folder / "new").exists()
