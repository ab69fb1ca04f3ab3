"""The packages that a command needs beyond inference, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing(extra: str, doing: str) -> Iterator[None]:
    """Turn a package that is not installed into an error that says which extra brings it.

    Args:
        extra: The name of the extra, as in `pip install vocoder[…]`.
        doing: The beginning of the error's sentence: what needs the package.

    Raises:
        ModuleNotFoundError: A package is missing. An error that says already what to do, or is about a module of our
            own, stays as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "vocoder":
            raise
        raise ModuleNotFoundError(
            f"{doing} needs {error.name}, which is not installed. Run `pip install 'vocoder[{extra}]'`."
        ) from error
