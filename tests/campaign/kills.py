"""Commands killed at any moment: nothing is half-written under a final name, and going on ends as if never killed.

A command runs in a fork of this process, which has imported all it needs, and SIGKILL comes after a random part of the
processor's time that it takes: so the moment does not depend on what else the machine does. Linux only.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
import torch

from campaign.fuzz import Result, rng_of
from campaign.judge import require
from conftest import speech_like_mel, tiny_config, tiny_network
from hub import ANNA, Hub, serve
from runs import WHAT_TRAINING_KNOWS, assert_same, make_corpus, recipe
from vocoder.bundles.bundle import Bundle, load_bundle, save_bundle
from vocoder.engines.cpu.library import load_library

TIMES = ("times_real_time",)  # what a clock says
LONGEST = 300  # seconds that a command may take


def run(command: Callable[[], Any], kill_after: float | None = None, log: Path | None = None) -> float | None:
    """Run a command in a fork; gives the seconds of the processor that it took, or None if it was killed.

    Raises:
        AssertionError: It failed, or went on for too long.
    """
    begun, child = time.monotonic(), os.fork()
    if not child:
        code = 1
        try:
            output = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = int(command() or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    took = 0.0
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        took = time.clock_gettime(~child << 3 | 2)  # of all its threads; how Linux numbers another process' clock
        late = time.monotonic() - begun > LONGEST
        if late or (kill_after is not None and took > kill_after):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            require(not late, f"went on for {LONGEST} s")
            return None
        time.sleep(0.001)
    status = os.waitstatus_to_exitcode(ended[1])
    require(status == 0, f"ended with {status}: {log.read_text()[-500:] if log and log.is_file() else ''}")
    return took


def vocoder(*arguments: Any) -> Callable[[], int]:
    """A command line."""

    def call() -> int:
        from vocoder.cli import main

        sys.argv = ["vocoder", *map(str, arguments)]
        return main(sys.argv[1:])

    return call


class Target:
    """A command.

    Args:
        folder: Of its own, for what it reads.
    """

    ready: ClassVar[tuple[str, ...]] = ("vocoder.cli",)  # imported before it is forked

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        torch.set_num_threads(1)
        load_library()  # which is opened once: for want of memory a fork would take another engine, and say so
        for name in self.ready:
            __import__(name)
        self.folder, config = (
            folder,
            tiny_config("gaussian", num_components=1, samples_per_step=8, recent_excitations=8),
        )
        torch.manual_seed(0)
        self.bundle = Bundle(config, tiny_network(config), {"steps": 3})
        save_bundle(folder / "bundle", *self.bundle)
        self.prepare(stack)

    def prepare(self, stack: ExitStack) -> None:
        """Make what the command reads."""

    def first(self, output: Path) -> Callable[[], Any]:
        """Give the command as it is begun."""
        raise NotImplementedError

    def again(self, output: Path) -> Callable[[], Any]:
        """Give the command that goes on after a kill."""
        return self.first(output)

    def in_processes(self, output: Path) -> Callable[[], Any] | None:
        """Give the command with processes of its own beside it; None if it has none."""
        return None

    def check_rest(self, output: Path, whole: Path) -> None:
        """Judge what lies there after a kill."""
        raise NotImplementedError

    def check_end(self, output: Path, whole: Path) -> None:
        """Judge what lies there in the end."""
        raise NotImplementedError


def files(folder: Path) -> dict[str, bytes]:
    """What lies below a folder under final names."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    relative = ((path.relative_to(folder), path) for path in paths)
    return {str(name): path.read_bytes() for name, path in relative if not any(p.startswith(".") for p in name.parts)}


class Infer(Target):
    """`vocoder infer` of many files."""

    ready = ("vocoder.cli", "vocoder.cli.infer", "vocoder.inference.vocoder", "soundfile")

    def prepare(self, stack: ExitStack) -> None:
        (self.folder / "mels").mkdir()
        for index in range(12):
            mel = speech_like_mel(self.bundle.config.mel, 50 + 50 * index)[0]
            np.save(self.folder / "mels" / f"{index}.npy", mel.numpy())

    def first(self, output: Path) -> Callable[[], Any]:
        output.mkdir(exist_ok=True)
        return vocoder("infer", "--model", self.folder / "bundle", "--output-dir", output, self.folder / "mels")

    def again(self, output: Path) -> Callable[[], Any]:
        arguments = ("--model", self.folder / "bundle", "--output-dir", output, "--overwrite", self.folder / "mels")
        return vocoder("infer", *arguments)

    def check_rest(self, output: Path, whole: Path) -> None:
        expected = files(whole)
        for name, content in files(output).items():
            require(content == expected[name], f"{name} is not what it is in the end")

    def check_end(self, output: Path, whole: Path) -> None:
        require(files(output) == files(whole), "not the same files in the end")


class Predict(Infer):
    """`vocoder predict` of the same files; what is there it leaves alone, so that the same command goes on."""

    ready = ("vocoder.cli", "vocoder.cli.predict", "vocoder.training.predict", "vocoder.training.cli", "soundfile")

    def first(self, output: Path) -> Callable[[], Any]:
        files = ("--output-dir", output, "--batch-size", 2, self.folder / "mels")
        return vocoder("predict", "--model", self.folder / "bundle", *files)

    def again(self, output: Path) -> Callable[[], Any]:
        return self.first(output)


class Export(Target):
    """`vocoder export` of a checkpoint."""

    ready = ("vocoder.cli", "vocoder.inference.vocoder")

    def prepare(self, stack: ExitStack) -> None:
        from vocoder.config import to_dict

        state = {f"network.{name}": weight for name, weight in self.bundle.network.state_dict().items()}
        values = {"mel": to_dict(self.bundle.config.mel), "network": to_dict(self.bundle.config.network)}
        entries = {"format_version": 2, "hyper_parameters": values, "state_dict": state, "global_step": 3}
        torch.save(entries, self.folder / "last.ckpt")

    def first(self, output: Path) -> Callable[[], Any]:
        return vocoder("export", "--overwrite", self.folder / "last.ckpt", output / "exported")

    def check_rest(self, output: Path, whole: Path) -> None:
        if (output / "exported" / "config.json").is_file():
            load_bundle(output / "exported")
            self.check_end(output, whole)

    def check_end(self, output: Path, whole: Path) -> None:
        require(files(output / "exported") == files(whole / "exported"), "not the same bundle in the end")


class Fit(Target):
    """`vocoder fit`, gone on with from its last checkpoint."""

    ready = ("vocoder.cli", "vocoder.training.cli", "lightning.pytorch", "torchaudio.transforms")

    def prepare(self, stack: ExitStack) -> None:
        make_corpus(self.folder / "corpus")

    def fit(self, output: Path, *options: str) -> Callable[[], Any]:
        (output / "run").mkdir(parents=True, exist_ok=True)
        network = tiny_config(dilation_cycles=1)
        values = recipe(output, network.mel, network.network, enable_model_summary=False, enable_progress_bar=False)
        values["data"]["root"] = str(self.folder / "corpus")
        values["run"]["checkpoint_every"] = 2
        values["trainer"] |= {"max_steps": 12, "val_check_interval": 6}
        (output / "train.yaml").write_text(json.dumps(values))
        return vocoder("fit", "--config", output / "train.yaml", *options)

    def first(self, output: Path) -> Callable[[], Any]:
        return self.fit(output)

    def again(self, output: Path) -> Callable[[], Any]:
        going_on = (output / "run" / "checkpoints" / "last.ckpt").is_file()
        return self.fit(output, *(("--ckpt_path", "last") if going_on else ("--run.overwrite", "true")))

    def in_processes(self, output: Path) -> Callable[[], Any]:
        return self.fit(output, "--data.num_workers", "1")

    def check_rest(self, output: Path, whole: Path) -> None:
        for path in (output / "run").rglob("*.ckpt"):
            torch.load(path, weights_only=True)

    def check_end(self, output: Path, whole: Path) -> None:
        self.check_rest(output, whole)
        ended, expected = (
            torch.load(root / "run" / "checkpoints" / "last.ckpt", weights_only=True) for root in (output, whole)
        )
        require(ended["global_step"] == expected["global_step"], f"ended at step {ended['global_step']}")
        for key in WHAT_TRAINING_KNOWS:
            assert_same(ended[key], expected[key], key)


class Evaluate(Target):
    """`vocoder evaluate`, begun again in the same folder."""

    ready = (
        "vocoder.cli",
        "vocoder.evaluation.run",
        "vocoder.evaluation.measures.all",
        "torchaudio.transforms",
        "librosa",
    )

    def prepare(self, stack: ExitStack) -> None:
        make_corpus(self.folder / "corpus", 4)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            self.first(self.folder)()  # forks then find compiled what librosa compiles
        shutil.rmtree(self.folder / "evaluation")

    def first(self, output: Path, workers: int = 1) -> Callable[[], Any]:
        what = ("--model", self.folder / "bundle", "--corpus", self.folder / "corpus", "--part", "all")
        how = ("--output-dir", output / "evaluation", "--workers", workers, "--seconds", "0.3")
        return vocoder("evaluate", *what, *how)

    def in_processes(self, output: Path) -> Callable[[], Any]:
        return self.first(output, workers=2)

    def check_rest(self, output: Path, whole: Path) -> None:
        for path in (output / "evaluation").rglob("*.json"):
            if not path.name.startswith("."):
                json.loads(path.read_text())
        for path in (output / "evaluation").rglob("*.wav"):
            if not path.name.startswith("."):
                soundfile.read(path)

    def check_end(self, output: Path, whole: Path) -> None:
        require(table(output / "evaluation") == table(whole / "evaluation"), "not the same table in the end")


def table(folder: Path) -> list[dict[str, str]]:
    """Of an evaluation, without what depends on the clock."""
    rows = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


class Push(Target):
    """A model pushed to the hub's stand-in: there is all of it, or nothing new."""

    ready = ("vocoder.inference.vocoder", "vocoder.bundles.hub")

    def prepare(self, stack: ExitStack) -> None:
        self.hub: Hub = stack.enter_context(serve())
        os.environ |= {
            "HF_HOME": str(self.folder / "cache"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": ANNA,
            "NO_PROXY": "127.0.0.1",
            "HF_ENDPOINT": self.hub.address,
        }
        from huggingface_hub import constants  # reads the environment

        assert self.hub.address == constants.ENDPOINT

    def first(self, output: Path) -> Callable[[], Any]:
        from vocoder.bundles.hub import push

        return lambda: push(self.bundle, f"anna/{output.name}") and 0

    def pushed(self, output: Path) -> dict[str, bytes]:
        repository = self.hub.repositories.get(f"anna/{output.name}")
        return {} if repository is None else repository.commits[repository.branches["main"]]

    def check_rest(self, output: Path, whole: Path) -> None:
        found = self.pushed(output)
        if set(found) - {".gitattributes"}:
            self.check_end(output, whole)

    def check_end(self, output: Path, whole: Path) -> None:
        found, expected = self.pushed(output), self.pushed(whole)
        require(set(found) == set(expected), f"the hub has {sorted(found)}")
        for name in found:
            same = found[name].replace(output.name.encode(), b"") == expected[name].replace(whole.name.encode(), b"")
            require(same, f"{name} is another on the hub")


TARGETS: dict[str, type[Target]] = {
    kind.__name__.lower(): kind for kind in (Infer, Predict, Export, Fit, Evaluate, Push)
}


def kill(name: str, seed: int, count: int) -> Result:
    """Kill a command so many times, each at another moment, and go on with it; now and then kill that too."""
    result, started = Result(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        target, whole, log = TARGETS[name](Path(folder), stack), Path(folder) / "whole", Path(folder) / "log"
        whole.mkdir()
        took = run(target.first(whole), log=log) or 0.0
        case = 0
        while result.cases < count and case < 3 * count:
            rng, output = rng_of(name, seed, case), Path(folder) / f"case-{case}"
            output.mkdir()
            log.unlink(missing_ok=True)
            try:
                command = target.first(output)
                while run(command, kill_after=float(rng.uniform(0, took)), log=log) is None:  # else it was faster
                    result.cases += 1
                    target.check_rest(output, whole)
                    command = target.again(output)
                    if rng.random() < 0.7:
                        run(command, log=log)
                        break
                target.check_end(output, whole)
            except Exception as error:
                result.findings.append((case, f"{type(error).__name__}: {str(error)[:600]}"))
            shutil.rmtree(output, ignore_errors=True)
            case += 1
    result.seconds = time.monotonic() - started
    return result
