"""An evaluation from beginning to end: which utterances, what is found of them in total, and all that is written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import vocoder
from vocoder.bundles.bundle import some
from vocoder.config import to_dict
from vocoder.data.corpora import CorpusError, Utterance, split_each, stays_inside
from vocoder.data.layouts import corpus_name, name_speakers, read_corpus, read_transcripts
from vocoder.engines.noise import check_key
from vocoder.evaluation.bootstrap import interval
from vocoder.evaluation.copies import ALL_MEASURES, GRIFFIN_LIM, CopySynthesis, Setting
from vocoder.evaluation.listening.blind import write_blind_test
from vocoder.evaluation.measures.analysis import F0_SECONDS
from vocoder.evaluation.records import ORIGINAL, Evaluation, Total, UtteranceRecord
from vocoder.evaluation.report import write_report
from vocoder.evaluation.tables import speakers_to_markdown, to_csv, to_markdown
from vocoder.evaluation.workers import CopyTask, copy_all, read_record
from vocoder.files import write_whole
from vocoder.inference.checks import check_speaker, list_names
from vocoder.inference.vocoder import Vocoder
from vocoder.machine import cpu_name

PARTS = ("test", "validation", "train", "all")
FOLDERS = ("utterances", "audio", "report")  # in the output folder
INCIDENTAL = ("utterances", "split_hash", "torch", "machine")  # facts that may differ when a run is gone on with


@dataclass(frozen=True)
class Request:
    """A request: the model to evaluate, on which corpus, and how.

    Attributes:
        model: The model: a folder, .ckpt, voice or hub id.
        corpus: The folder of the corpus, or its manifest.
        output: The folder for all that is found; if it holds a part of the same evaluation, that is continued.
        part: The part of the corpus, as training splits it; or `all`.
        limit: The largest number of utterances, taken in the order of the split, which is random.
        seconds: The largest number of seconds taken from the beginning of each utterance.
        seed: The seed of the noise.
        engine: The name of the engine that generates.
        precision: The precision of the engine's matrix products.
        compare: The folders of other vocoders' copies, by name.
        speaker: The voice of all utterances, of models of several; each one's own by its name in the corpus if None.
        workers: The number of processes; None for one on each core.
        overwrite: Whether to discard another evaluation in the output folder.
    """

    model: str
    corpus: Path
    output: Path
    part: str = "test"
    limit: int | None = None
    seconds: float | None = None
    seed: int = 0
    engine: str = "auto"
    precision: str = "auto"
    compare: dict[str, Path] = field(default_factory=dict)
    speaker: str | None = None
    workers: int | None = None
    overwrite: bool = False


def evaluate(request: Request, progress: Callable[[int, int], None] = lambda done, of: None) -> Evaluation:
    """Copy and measure each utterance, and write `metrics.json`, `.csv` and `.md`, `audio/` and `report/`.

    Args:
        request: The request: what is wanted.
        progress: A function that is called with the number of utterances that are done, and that there are.

    Returns:
        All that was found.

    Raises:
        ValueError: The request breaks a rule, the folder holds another evaluation, or no utterance could be copied.
        OSError: Model or corpus cannot be read, or a process died.
    """
    setting = plan(request)
    synthesis = CopySynthesis(setting)  # an error in the setting shows here, not in every process
    tasks = list_tasks(request, synthesis.vocoder)
    facts = collect_facts(request, synthesis, tasks)
    for other in synthesis.others:
        other.check([task.recording.id for task in tasks])
    identity = {key: value for key, value in facts.items() if key not in INCIDENTAL}
    prepare_folder(request, identity | {"folder_paths_hash": hash_folders(request)})
    copy_all(synthesis, tasks, request.workers, progress)

    found = [read_record(request.output, task) for task in tasks]
    utterances = [one for one in found if isinstance(one, UtteranceRecord)]
    facts["left_out"] = {task.recording.id: one for task, one in zip(tasks, found, strict=True) if isinstance(one, str)}
    if not utterances:
        raise CorpusError(f"No utterance could be evaluated. The first: {next(iter(facts['left_out'].values()))}")
    facts["spent"] = sum_spent(utterances)
    evaluation = Evaluation(
        facts=facts,
        sample_rate=synthesis.mel.sample_rate,
        f0_seconds=F0_SECONDS,
        mel=to_dict(synthesis.mel),
        measures=list(ALL_MEASURES),
        systems=setting.systems,
        totals=total(setting.systems, utterances),
        utterances=utterances,
    )
    write(request.output, evaluation)
    return evaluation


def plan(request: Request) -> Setting:
    """Plan how each utterance is copied."""
    name = Path(request.model).expanduser().resolve().name.removesuffix(".ckpt")
    if name in (ORIGINAL, GRIFFIN_LIM):
        raise ValueError(f"A model's name must be none of the other systems', but is {name!r}. Rename its folder.")
    if not stays_inside(name):
        raise ValueError(f"A model's name becomes a folder's, but is {name!r}. Rename the model.")
    taken = [ORIGINAL, name, GRIFFIN_LIM]
    for other in request.compare:
        if other in taken or not other.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ValueError(
                f"--compare needs a name of letters, digits, '-', '_' and '.', other than {', '.join(taken)}, but got "
                f"{other!r}. Example: --compare hifigan=/path/to/its/copies."
            )
    if request.limit is not None and request.limit < 1:
        raise ValueError(f"--limit must be at least 1, but is {request.limit}. Leave it out to take all.")
    if request.seconds is not None and not request.seconds > 0:
        raise ValueError(f"--seconds must be positive, but is {request.seconds:g}. Leave it out to take all.")
    if request.workers is not None and request.workers < 1:
        raise ValueError(f"--workers must be at least 1, but is {request.workers}. Leave it out for one on each core.")
    check_key("seed", request.seed)
    compare = {other: str(folder) for other, folder in request.compare.items()}
    return Setting(
        model=request.model,
        name=name,
        seconds=request.seconds,
        seed=request.seed,
        engine=request.engine,
        precision=request.precision,
        compare=compare,
        output=request.output,
    )


def list_tasks(request: Request, model: Vocoder) -> list[CopyTask]:
    """List the utterances of a part of the corpus, divided as in training, and each one's voice."""
    if request.part not in PARTS:
        raise ValueError(f"--part must be one of {', '.join(PARTS)}, but is {request.part!r}.")
    recordings = give_speakers(request, read_corpus(request.corpus), model)
    by_speaker = bool(model.speakers) and request.speaker is None
    if request.part != "all":
        recordings = split_each({corpus_name(request.corpus): recordings}, by_speaker=by_speaker)[request.part]
    chosen = recordings[: request.limit]
    texts = read_transcripts(request.corpus, chosen)
    return [CopyTask(i, one, texts.get(one.id, "")) for i, one in enumerate(chosen)]


def give_speakers(request: Request, recordings: list[Utterance], model: Vocoder) -> list[Utterance]:
    """Say in which of a model's voices each recording is copied.

    Raises:
        ValueError: The model has no voice of that name, or of the names in the corpus.
    """
    if request.speaker is not None or not model.speakers:
        check_speaker(request.speaker, model.config, 1)
        return [replace(one, speaker=request.speaker or "") for one in recordings]
    [named] = name_speakers({corpus_name(request.corpus): recordings}).values()
    unknown = sorted({one.speaker for one in named} - set(model.speakers))
    if unknown:
        raise CorpusError(
            f"Each recording's speaker must be a voice of the model, but {some(unknown)} is none. "
            f"{list_names(model.speakers)} Pass --speaker NAME to take one voice for all."
        )
    return named


def collect_facts(request: Request, synthesis: CopySynthesis, tasks: Sequence[CopyTask]) -> dict[str, Any]:
    """Collect the facts that are needed to repeat the evaluation: no path but the folders' names."""
    return {
        "model": synthesis.setting.name,
        "model_hash": hash_weights(synthesis.vocoder),
        "corpus": corpus_name(request.corpus),
        "part": request.part,
        "utterances": len(tasks),
        "split_hash": hash_ids([task.recording.id for task in tasks]),
        "seconds": request.seconds,
        "seed": request.seed,
        **({} if request.speaker is None else {"speaker": request.speaker}),
        "engine": synthesis.engine.name,
        "precision": synthesis.engine.precision,
        "compare": list(request.compare),
        "vocoder": vocoder.__version__,
        "torch": torch.__version__,
        "machine": cpu_name(),
    }


def hash_ids(ids: Sequence[str]) -> str:
    """Hash the ids of the utterances that were taken, in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]


def hash_folders(request: Request) -> str:
    """Hash the places of the recordings and other vocoders' copies: files of the same names may lie elsewhere."""
    return hash_ids([str(folder.resolve()) for folder in (request.corpus, *request.compare.values())])


def hash_weights(model: Vocoder) -> str:
    """Hash the network and its configuration, wherever they are stored."""
    values = to_dict(model.config)
    if not model.speakers:
        del values["speakers"]  # a model that has none is what it was before there were names
    if values["network"]["unvoiced_reach"] is None:
        del values["network"]["unvoiced_reach"]  # and before laws were bounded
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def prepare_folder(request: Request, identity: dict[str, Any]) -> None:
    """Take a folder that is empty or holds a part of the same evaluation; what a killed run half wrote is removed."""
    plan_file = request.output / "plan.json"
    foreign = [path.name for path in request.output.glob("*") if not path.name.startswith(".plan.")]
    if foreign and not plan_file.is_file():
        raise ValueError(
            f"--output-dir must be empty or hold an evaluation, but {request.output} holds {sorted(foreign)[0]}. "
            "Choose another."
        )
    if plan_file.is_file():
        before = json.loads(plan_file.read_text(encoding="utf-8"))
        changed = [f"{key} {before.get(key)} → {value}" for key, value in identity.items() if before.get(key) != value]
        if request.overwrite:
            for ours in FOLDERS:
                shutil.rmtree(request.output / ours, ignore_errors=True)
        elif changed:
            raise ValueError(
                f"{request.output} holds another evaluation ({', '.join(changed)}). Choose another --output-dir, or "
                "discard that one by --overwrite."
            )
    write_whole(plan_file, json.dumps(identity, indent=1))
    for folder in FOLDERS:
        for leftover in (request.output / folder).rglob(".*.part*"):
            leftover.unlink()
    for leftover in (*request.output.glob(".plan.*.part*"), *request.output.glob(".metrics.*.part*")):
        leftover.unlink()


def sum_spent(utterances: Sequence[UtteranceRecord]) -> dict[str, float]:
    """Seconds of work on all utterances, by what they were spent on; see `UtteranceRecord.spent`."""
    spent: Counter[str] = Counter()
    for utterance in utterances:
        spent.update(utterance.spent)
    return dict(spent)


def total(systems: Sequence[str], utterances: Sequence[UtteranceRecord]) -> dict[str, dict[str, Total]]:
    """Give the totals of each system, for each measure that any utterance of it has."""
    totals: dict[str, dict[str, Total]] = {}
    for system in systems:
        taken = [one.systems[system].measures for one in utterances]
        totals[system] = {
            measure.key: interval([values.get(measure.key) for values in taken])
            for measure in ALL_MEASURES
            if any(measure.key in values for values in taken)
        }
    return totals


def write(folder: Path, evaluation: Evaluation) -> None:
    """All files but the utterances' own."""
    write_whole(folder / "metrics.json", evaluation.to_json())
    write_whole(folder / "metrics.csv", to_csv(evaluation))
    by_speaker = speakers_to_markdown(evaluation)
    write_whole(folder / "metrics.md", to_markdown(evaluation) + (f"\n{by_speaker}" if by_speaker else ""))
    write_report(folder, evaluation)
    write_blind_test(folder, evaluation)
