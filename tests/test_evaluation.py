"""An evaluation as a whole: what is found, written, gone on with, and said when something is amiss."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import wandb

from conftest import tiny_config, tiny_network
from runs import RATE, make_corpus
from vocoder.cli import main
from vocoder.data.corpora import CorpusError
from vocoder.data.layouts import read_corpus
from vocoder.evaluation import workers
from vocoder.evaluation.headline import headline
from vocoder.evaluation.logger import log_evaluation
from vocoder.evaluation.records import ORIGINAL, Evaluation
from vocoder.evaluation.run import Request, evaluate
from vocoder.evaluation.stopwatch import describe_spent
from vocoder.evaluation.tables import to_markdown
from vocoder.features.audio import load_audio
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.vocoder import Vocoder

TIMES = ("times_real_time",)  # that differ from run to run


def write_case(root: Path) -> Path:
    """A model, a corpus of five utterances of which one is damaged, and another vocoder's copies of three."""
    torch.manual_seed(0)
    config = tiny_config()
    Vocoder(config, tiny_network(config)).save_pretrained(root / "model")
    corpus = make_corpus(root / "corpus", 4)
    (corpus / "9.wav").write_bytes(b"RIFF")
    other = root / "other"
    other.mkdir()
    for recording in read_corpus(corpus)[:3]:
        samples, rate = soundfile.read(recording.path)
        soundfile.write(other / f"{recording.id}.wav", 0.5 * samples, rate if recording.id != "2" else 16_000)
    return root


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("case"))


def ask(case: Path, output: Path, **changes: Any) -> Request:
    standard = Request(
        str(case / "model"), case / "corpus", output, "all", workers=1, compare={"other": case / "other"}
    )
    return replace(standard, **changes)


@pytest.fixture(scope="module")
def whole(case: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """A run without interruption."""
    output = tmp_path_factory.mktemp("evaluation")
    return output, evaluate(ask(case, output, workers=2))


def table(folder: Path) -> list[list[str]]:
    """`metrics.csv` but for what a clock says."""
    rows = list(csv.reader((folder / "metrics.csv").read_text().splitlines()))
    kept = [column for column, name in enumerate(rows[0]) if name not in TIMES]
    return [[row[column] for column in kept] for row in rows]


def test_every_utterance_has_every_system_and_every_measure(whole: tuple[Path, Evaluation]) -> None:
    folder, found = whole
    assert found.systems == [ORIGINAL, "model", "griffin-lim", "other"]
    assert [one.id for one in found.utterances] == ["0", "1", "2", "3"]
    keys = {measure.key for measure in found.measures}
    for one in found.utterances:
        assert set(one.systems["model"].measures) == keys
        for output in one.systems.values():
            assert output.audio is None or (folder / output.audio).is_file()
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == json.loads(found.to_json())
    assert len(table(folder)) == 1 + 4 * 4


def test_totals_are_means_over_the_utterances(whole: tuple[Path, Evaluation]) -> None:
    _, found = whole
    for system in found.systems[1:]:
        for key, total in found.totals[system].items():
            values = [one.systems[system].measures.get(key) for one in found.utterances]
            present = [value for value in values if value is not None]
            assert (total.count, total.missing) == (len(present), len(values) - len(present))
            assert total.mean == (pytest.approx(np.mean(present)) if present else None)


def test_the_copy_is_what_infer_gives(whole: tuple[Path, Evaluation], case: Path) -> None:
    folder, _ = whole
    model, corpus = Vocoder.from_pretrained(case / "model"), read_corpus(case / "corpus")
    for number in (0, 3):
        waveform = load_audio(corpus[number].path, RATE)
        mel = LogMelSpectrogram(model.mel)(waveform[None])[0, :, : len(waveform) // model.hop_length]
        expected = model.infer(mel, seed=0, utterance=number)
        written = load_audio(folder / f"audio/model/{number}.flac", RATE)
        torch.testing.assert_close(written, expected, rtol=0, atol=1 / 32768)


def test_another_vocoder_s_copies_are_measured_where_there_are_any(whole: tuple[Path, Evaluation]) -> None:
    _, found = whole
    others = [one.systems["other"] for one in found.utterances]
    assert others[0].measures["level_db"] == pytest.approx(20 * np.log10(0.5), abs=0.05)
    assert others[2].audio is None
    assert "16000 Hz, the recording 8000" in others[2].problems["audio"]
    assert "has no file for 3" in others[3].problems["audio"]
    assert found.totals["other"]["level_db"].count == 2
    assert found.totals["other"]["level_db"].missing == 2


def test_a_damaged_recording_is_named_and_the_rest_goes_on(whole: tuple[Path, Evaluation]) -> None:
    _, found = whole
    assert list(found.facts["left_out"]) == ["9"]
    assert "9.wav" in found.facts["left_out"]["9"]


@pytest.mark.parametrize("id_", ["../../escaped", "{root}/escaped"])
def test_no_id_writes_outside_the_output_folder(case: Path, tmp_path: Path, id_: str) -> None:
    corpus, id_ = tmp_path / "corpus", id_.format(root=tmp_path)
    make_corpus(corpus / "wavs", 1)
    make_corpus(tmp_path / "escaped", 1)
    (corpus / "metadata.csv").write_text(f"0|Text.\n{id_}/0|Text.\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorpusError, match=r"must name a file inside its corpus, but is .*escaped"):
        evaluate(ask(case, tmp_path / "out", corpus=corpus, compare={}))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/a", ""])
def test_no_system_s_name_leads_out_of_the_output_folder(case: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"--compare needs a name of letters"):
        evaluate(ask(case, tmp_path / "out", compare={name: case / "other"}))
    shutil.copytree(case / "model", tmp_path / "...ckpt")  # without its suffix: the folder above
    with pytest.raises(ValueError, match=r"name becomes a folder's, but is '\.\.'\. Rename the model"):
        evaluate(ask(case, tmp_path / "out", model=str(tmp_path / "...ckpt")))
    assert not (tmp_path / "out").exists()


def test_a_recording_of_another_rate_is_evaluated_at_the_model_s(case: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", 1)
    samples, rate = soundfile.read(corpus / "0.wav")
    soundfile.write(corpus / "0.wav", np.repeat(samples, 2), 2 * rate)
    found = evaluate(ask(case, tmp_path / "out", corpus=corpus, compare={}))
    [utterance] = found.utterances
    assert utterance.seconds == pytest.approx(len(samples) / rate, abs=16 / rate)
    assert soundfile.info(tmp_path / "out" / utterance.systems[ORIGINAL].audio).samplerate == rate


def test_audio_on_another_scale_is_not_evaluated(case: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", 1)
    samples, rate = soundfile.read(corpus / "0.wav")
    soundfile.write(corpus / "0.wav", 32_768 * samples, rate, subtype="FLOAT")
    with pytest.raises(
        CorpusError, match=r"No utterance could be evaluated\. .*0\.wav: peaks at \d+, where full scale"
    ):
        evaluate(ask(case, tmp_path / "out", corpus=corpus, compare={}))


def test_what_could_not_be_measured_is_counted_and_explained(whole: tuple[Path, Evaluation]) -> None:
    """In the shortest hum STOI finds too little speech."""
    _, found = whole
    stoi = found.totals["griffin-lim"]["stoi"]
    assert (stoi.count, stoi.missing) == (3, 1)
    assert "STOI failed" in found.utterances[0].systems["griffin-lim"].problems["stoi"]
    assert "(1 n/a)" in to_markdown(found)


def test_no_file_holds_nan(whole: tuple[Path, Evaluation]) -> None:
    folder, _ = whole
    json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert "nan" not in (folder / "metrics.csv").read_text().lower()


def test_time_is_told_by_what_it_went_into(whole: tuple[Path, Evaluation]) -> None:
    _, found = whole
    spent = dict(found.facts["spent"])
    total = spent.pop("total")
    assert {"synthesis", "likelihood", "f0", "griffin-lim", "pesq_wb"} <= set(spent)
    assert 0.5 * total < sum(spent.values()) <= total
    shares = [int(share) for share in re.findall(r"(\d+)%", describe_spent(found.facts["spent"]))]
    assert sum(shares) == pytest.approx(100, abs=len(shares) / 2)  # each is rounded


def test_an_interrupted_evaluation_is_gone_on_with(whole: tuple[Path, Evaluation], case: Path) -> None:
    folder, found = whole
    before = {path: path.stat().st_mtime_ns for path in (folder / "utterances").iterdir()}
    lost = folder / "utterances" / "1.json"
    lost.unlink()
    (folder / "audio" / "model" / ".1.77.part.flac").write_bytes(b"half")
    seen: list[tuple[int, int]] = []
    again = evaluate(ask(case, folder), lambda done, of: seen.append((done, of)))
    assert seen == [(2, 5), (3, 5), (4, 5), (5, 5)]
    tried_again = {folder / "utterances" / f"{id_}.json" for id_ in ("2", "9")}  # files may have been mended
    assert {path for path, time in before.items() if path.stat().st_mtime_ns != time} == {lost} | tried_again
    assert not list(folder.rglob(".*"))
    for one, other in zip(found.utterances, again.utterances, strict=True):
        assert one.systems["model"].f0 == other.systems["model"].f0


def test_what_was_missing_is_taken_once_it_is_there(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    late, damaged = case / "other" / "1.wav", case / "corpus" / "9.wav"
    late.rename(case / "late.wav")
    first = evaluate(ask(case, tmp_path / "out"))
    assert "has no file for 1" in first.utterances[1].systems["other"].problems["audio"]
    (case / "late.wav").rename(late)
    damaged.write_bytes((case / "corpus" / "3.wav").read_bytes())
    second = evaluate(ask(case, tmp_path / "out"))
    assert second.utterances[1].systems["other"].audio is not None
    assert second.facts["left_out"] == {}
    assert [one.id for one in second.utterances] == ["0", "1", "2", "3", "9"]


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again_it_gives_the_same_table(case: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vocoder", "evaluate", "--model", str(case / "model"), "--part", "all"]
    command += ["--corpus", str(case / "corpus"), "--compare", f"other={case / 'other'}", "--workers", "1"]
    subprocess.run([*command, "--output-dir", str(tmp_path / "whole")], check=True, capture_output=True)
    output, kills = tmp_path / "killed", 0
    for wanted in (1, 3):
        process = subprocess.Popen([*command, "--output-dir", str(output)], stderr=subprocess.DEVNULL)
        while len(list((output / "utterances").glob("*.json"))) < wanted and process.poll() is None:
            time.sleep(0.01)
        kills += process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (output / "metrics.json").exists()
    assert kills == 2
    subprocess.run([*command, "--output-dir", str(output)], check=True, capture_output=True)
    assert table(output) == table(tmp_path / "whole")


@pytest.mark.slow  # it stands between the steps of Python's own pool, which differ from version to version
@pytest.mark.skipif(sys.version_info < (3, 11, 7), reason="the pool notices a dead process only later")
@pytest.mark.parametrize("started", ["before", "after"])
def test_a_process_that_dies_while_another_is_being_started_ends_the_evaluation_and_all_of_them(
    monkeypatch: pytest.MonkeyPatch, started: str
) -> None:
    spawn, others = ProcessPoolExecutor._spawn_process, set(multiprocessing.active_children())

    def spawn_meanwhile(pool: Any) -> None:
        known = pool._processes
        if not known:
            return spawn(pool)
        if started == "before":  # but not known to the pool yet
            pool._processes = {}
            spawn(pool)
        next(iter(known.values())).kill()
        while not pool._broken:
            time.sleep(0.01)
        time.sleep(0.2)  # until the pool has ended those that it knows of
        return known.update(pool._processes) if started == "before" else spawn(pool)

    monkeypatch.setattr(ProcessPoolExecutor, "_spawn_process", spawn_meanwhile)
    monkeypatch.setattr(workers, "begin", abs)  # that needs no model
    with pytest.raises(ChildProcessError, match="One of 2 processes died; most likely memory ran out"):
        list(workers.run_in_processes(0, [1, 2], 2))  # type: ignore[arg-type, list-item]
    for process in set(multiprocessing.active_children()) - others:
        process.join(5)
    assert set(multiprocessing.active_children()) <= others


def test_another_evaluation_in_the_folder_is_neither_mixed_nor_lost(
    case: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = evaluate(ask(case, tmp_path, limit=1))
    for changes, named in (
        ({"seed": 1}, "seed 0 → 1"),
        ({"seconds": 0.2}, "seconds None → 0.2"),
        ({"compare": {}}, "compare"),
        ({"compare": {"other": case / "corpus"}}, "folder_paths_hash"),
        ({"corpus": shutil.copytree(case / "corpus", tmp_path_factory.mktemp("copy") / "corpus")}, "folder_paths_hash"),
    ):
        with pytest.raises(ValueError, match=f"holds another evaluation .*{named}.*--overwrite"):
            evaluate(ask(case, tmp_path, limit=1, **changes))
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == json.loads(first.to_json())
    second = evaluate(ask(case, tmp_path, limit=1, seconds=0.2, compare={}, overwrite=True))
    assert second.utterances[0].seconds <= 0.2
    assert not (tmp_path / "audio" / "other").exists()


def test_a_folder_of_something_else_is_left_alone(case: Path, tmp_path: Path) -> None:
    for name in ("metrics.csv", ".notes.part2.txt"):
        (tmp_path / name).write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"must be empty or hold an evaluation, but .* holds .notes.part2.txt"):
            evaluate(ask(case, tmp_path, limit=1, overwrite=overwrite))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "metrics.csv": "mine",
        ".notes.part2.txt": "mine",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "`seed` must lie between"),
        ({"part": "exam"}, "--part must be one of test, validation, train, all, but is 'exam'"),
        ({"limit": 0}, "--limit must be at least 1, but is 0"),
        ({"seconds": -1.0}, "--seconds must be positive, but is -1"),
        ({"compare": {"griffin-lim": Path()}}, "--compare needs a name of letters, .* but got 'griffin-lim'"),
        ({"compare": {"../up": Path()}}, "--compare needs a name of letters, .* but got '../up'"),
        ({"model": "models/griffin-lim"}, "name must be none of the other systems', but is 'griffin-lim'. Rename"),
        ({"workers": 0}, "--workers must be at least 1, but is 0"),
        ({"precision": "int3"}, "`precision` of the engine"),
    ],
    ids=str,
)
def test_a_wish_that_breaks_a_rule_is_refused_at_once(
    case: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(ask(case, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_which_nothing_can_be_used_says_so(case: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "damaged.wav").write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match=r"No utterance could be evaluated. The first: damaged\.wav"):
        evaluate(ask(case, tmp_path / "out", corpus=tmp_path / "corpus", compare={}))
    with pytest.raises(CorpusError, match="A corpus is a folder of audio"):
        evaluate(ask(case, tmp_path / "out", corpus=tmp_path / "none"))


def test_the_command_prints_the_table_and_where_to_listen(
    whole: tuple[Path, Evaluation], case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, evaluation = whole
    command = ["evaluate", "--model", str(case / "model"), "--corpus", str(case / "corpus"), "--part", "all"]
    assert main([*command, "--output-dir", str(folder), "--compare", f"other={case / 'other'}"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith((folder / "metrics.md").read_text())
    assert f"In short: {headline(evaluation)}" in printed
    assert "Left out: 9: 9.wav" in printed
    assert "other has no copy of 2 of 4 utterances." in printed
    assert f"Listen: {folder / 'report' / 'index.html'}" in printed


def test_the_command_explains_a_comparison_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--corpus", str(tmp_path), "--output-dir", str(tmp_path / "out"), "--compare", "hifigan"]
    assert main(command) == 2
    assert "--compare needs NAME=FOLDER, but is 'hifigan'" in capsys.readouterr().err


@pytest.fixture
def offline_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights & Biases writing to this test's folder; it reads the environment once in a process, or after this."""
    wandb.teardown()
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.teardown()


def test_a_run_at_weights_and_biases_gets_means_table_and_page(
    whole: tuple[Path, Evaluation], tmp_path: Path, offline_wandb: None
) -> None:
    folder, found = whole
    log_evaluation(found, folder / "report" / "index.html", "vocoder/abc123")
    [run] = tmp_path.glob("wandb/offline-run-*-abc123")
    assert [path.stem.split("_")[0] for path in run.rglob("*.html")] == ["page"]
    assert len(list(run.rglob("*.table.json"))) == 1


def test_a_run_needs_project_and_id(whole: tuple[Path, Evaluation]) -> None:
    folder, found = whole
    with pytest.raises(ValueError, match="--wandb needs a run as project/id, but is 'abc'"):
        log_evaluation(found, folder / "report" / "index.html", "abc")


def test_a_run_that_cannot_be_logged_to_is_refused_before_any_work(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--model", str(case / "model"), "--corpus", str(case / "corpus"), "--wandb", "abc"]
    assert main([*command, "--output-dir", str(tmp_path / "out")]) == 2
    assert "--wandb needs a run as project/id" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
