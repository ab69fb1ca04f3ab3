"""The model that a name means: a folder, a checkpoint, a voice that ships, or one on the hub."""

from __future__ import annotations

import os
from pathlib import Path

from vocoder.bundles.bundle import CONFIG_FILE, Bundle, load_bundle, load_checkpoint
from vocoder.bundles.hub import download, is_hub_id

VOICES = Path(__file__).resolve().parents[1] / "voices"  # models that ship within the package
DEFAULT_MODEL = "universal"  # one of them

ModelName = str | os.PathLike[str]


def load_model(model: ModelName, revision: str | None = None) -> Bundle:
    """Find and read a model; see `Vocoder.from_pretrained`."""
    path, name = Path(model), os.fspath(model)
    if revision is not None and (path.exists() or name in voices()):
        raise ValueError(f"`revision` is for models on the hub, but {name} is here. Leave it out.")
    if path.is_dir():
        return load_bundle(path)
    if path.is_file():
        if path.suffix == ".ckpt":
            return load_checkpoint(path)
        raise ValueError(f"A model is a folder or a .ckpt file, but {path} is neither. For a bundle pass its folder.")
    if name in voices():
        return load_bundle(VOICES / name)
    if is_hub_id(name):
        return load_bundle(download(name, revision))
    raise FileNotFoundError(
        "`model` must be a folder, a .ckpt file, a hub id `user/name` or the name of a voice "
        f"({', '.join(voices()) or 'none is installed'}), but there is no {name!r}. Check its spelling."
    )


def voices() -> list[str]:
    """List the names of the models that ship within the package."""
    return sorted(file.parent.name for file in VOICES.glob(f"*/{CONFIG_FILE}"))


def stamp(model: ModelName) -> tuple[str, int] | None:
    """Say which file this is and when it last changed, so that a model exported again is loaded again."""
    path = Path(model)
    file = path / CONFIG_FILE if path.is_dir() else path
    return (str(file.resolve()), file.stat().st_mtime_ns) if file.exists() else None
