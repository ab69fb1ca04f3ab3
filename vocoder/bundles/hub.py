"""Models on the Hugging Face Hub: fetching a bundle, and publishing one with its card.

A repository holds what a bundle does, `config.json` and `model.safetensors`, and the card as its `README.md`.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from vocoder.bundles.bundle import CONFIG_FILE, WEIGHTS_FILE, Bundle, save_bundle
from vocoder.bundles.card import write_card

CARD_FILE = "README.md"  # which the hub shows on the model's page


def is_hub_id(name: str) -> bool:
    """Say whether a name has the form `user/name`."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def download(name: str, revision: str | None = None) -> Path:
    """Fetch a bundle into huggingface_hub's cache; what is there already is not fetched again.

    Without network, and with `HF_HUB_OFFLINE=1`, the copy in the cache is taken.

    Args:
        name: The name of the repository, `user/name`.
        revision: The branch, tag or commit; None for the branch `main`.

    Returns:
        A folder for `load_bundle`, in the cache: not to be changed.

    Raises:
        OSError: There is no such model or revision, it is no vocoder, or neither hub nor cache gives it.
        ImportError: huggingface_hub is not installed.
    """
    hub = _import_hub(f"There is no folder {name!r}, and fetching it from the Hugging Face Hub", "pass a folder")
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))
    except Exception as error:  # the library's errors have no common base, and the base of some is another's
        raise OSError(
            f"There is no folder {name!r}, and it could not be fetched from the Hugging Face Hub: "
            f"{_why_not_fetched(hub.errors, error, name, revision)}"
        ) from error
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"A vocoder on the Hugging Face Hub holds {CONFIG_FILE} and {WEIGHTS_FILE}, but {name} has no {file}. "
                f"Check the name and the revision, or publish one with `vocoder push MODEL {name}`."
            )
    return folder


def push(
    bundle: Bundle,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    token: str | None = None,
) -> str:
    """Publish a model with a card written from what its bundle says; see `write_card`.

    All three files change in one commit, so that the weights of one model are never fetched with the config of another.
    A card that was edited by hand is replaced too; it stays in the repository's history.

    Args:
        bundle: The model.
        repo_id: The name of the repository, `user/name`; the repository is made if need be.
        private: Whether a new repository is private; if False, it is what the account's default says: public, unless
            its owner chose otherwise.
        revision: The branch, made if need be; None for `main`.
        message: The message of the commit.
        token: A token with the right to write; None for the one of `hf auth login` or the environment variable
            `HF_TOKEN`.

    Returns:
        The address of the model's page.

    Raises:
        ValueError: `repo_id` is no `user/name`.
        OSError: The hub did not take it.
        ImportError: huggingface_hub is not installed.
    """
    if not is_hub_id(repo_id):
        raise ValueError(f"`repo_id` must be `user/name`, but is {repo_id!r}. Put your name on the hub before a slash.")
    hub = _import_hub("Publishing on the Hugging Face Hub", "copy the model's folder")
    api = hub.HfApi(token=token)
    with tempfile.TemporaryDirectory() as name:
        files = _write_files(Path(name) / "model", bundle, repo_id)
        operations = [hub.CommitOperationAdd(file.name, file) for file in files]
        try:
            url = api.create_repo(repo_id, private=private or None, exist_ok=True)
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            api.create_commit(repo_id, operations, commit_message=message or "Upload model", revision=revision)
        except Exception as error:  # as above
            raise OSError(f"{repo_id} was not pushed: {_why_not_pushed(error, repo_id)}") from error
    return str(url)


def _write_files(folder: Path, bundle: Bundle, name: str) -> list[Path]:
    save_bundle(folder, *bundle)
    (folder / CARD_FILE).write_text(write_card(bundle, name), encoding="utf-8")
    return sorted(folder.iterdir())


def _import_hub(purpose: str, instead: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise ImportError(
            f"{purpose} needs huggingface_hub, which is not installed. Run `pip install huggingface_hub`, or {instead}."
        ) from None
    return huggingface_hub


def _why_not_fetched(errors: Any, error: Exception, name: str, revision: str | None) -> str:
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {revision!r}. Pass a branch, a tag or a commit that its page lists."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no model {name}, or none that you may see. Check its spelling, or run `hf auth login`."
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"the hub did not answer ({error.__cause__ or error}), and the cache holds no copy of "
            f"{revision or 'main'}. Fetch it once while the network is there and HF_HUB_OFFLINE is not set."
        )
    return f"{error} Check the name, the network and, for a private model, `hf auth login`."


def _why_not_pushed(error: Exception, repo_id: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return "the hub does not know you. Run `hf auth login`, or set HF_TOKEN to a token with the right to write."
    if status == 403:
        return f"your token may not write to {repo_id}. Make one that may, or push to your own name."
    return f"{error} Check the name and the network; what was there before is unchanged."
