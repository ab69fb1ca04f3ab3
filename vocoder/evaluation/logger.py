"""An evaluation logged to a run at Weights & Biases."""

from __future__ import annotations

from pathlib import Path

import wandb

from vocoder.evaluation.records import ORIGINAL, Evaluation


def split_run(run: str) -> tuple[str, str]:
    """Split a run into project and id.

    Raises:
        ValueError: It is neither.
    """
    project, _, id_ = run.partition("/")
    if not (project and id_) or "/" in id_:
        raise ValueError(f"--wandb needs a run as project/id, but is {run!r}. Example: --wandb vocoder/3k2f9x1c.")
    return project, id_


def log_evaluation(evaluation: Evaluation, page: Path, run: str) -> None:
    """Add means, the table of utterances, and the listening page to a run; offline where W&B is.

    Args:
        evaluation: The evaluation to log.
        page: The listening page.
        run: The run, `project/id`: one that exists is continued, else one is begun.

    Raises:
        ValueError: `run` is no project and id.
    """
    project, id_ = split_run(run)
    keys = [measure.key for measure in evaluation.measures]
    systems = [name for name in evaluation.systems if name != ORIGINAL]
    rows = [
        [one.id, system, *[one.systems[system].measures.get(key) for key in keys]]
        for one in evaluation.utterances
        for system in systems
    ]
    with wandb.init(project=project, id=id_, resume="allow", job_type="evaluate") as session:
        for system in systems:
            for key, total in evaluation.totals[system].items():
                session.summary[f"evaluation/{system}/{key}"] = total.mean
        session.log(
            {
                "evaluation/utterances": wandb.Table(columns=["utterance", "system", *keys], data=rows),
                "evaluation/page": wandb.Html(page.read_text(encoding="utf-8"), inject=False),
            }
        )
