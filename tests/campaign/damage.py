"""Ways to damage what is read: bytes, JSON, text, numbers. Each is a function of a random generator."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

Rng = np.random.Generator

INTEGERS = (0, 1, 2, 3, -1, 7, 16, 255, 256, 2**15, 2**16, 10**6, 2**31 - 1, 2**31, 2**32, 2**63, 10**30, 10**400)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e-320, 1e30, 1e300, -1e300, float("nan"), float("inf"), float("-inf"))
OTHERS: tuple[Any, ...] = (None, True, False, "", "x", "1", "../..", "é" * 50, [], [0], {}, {"a": 1}, [[[]]], "\0")
ALPHABET = "a0.,|;\"'\\/\n\r\t \0é€-_../[]{}:%&=?#"


def pick(rng: Rng, items: Any) -> Any:
    """Take one, as it is."""
    return items[int(rng.integers(len(items)))]


def value(rng: Rng) -> Any:
    """Draw something that JSON can say."""
    return copy.deepcopy(pick(rng, pick(rng, (INTEGERS, FLOATS, OTHERS))))


def content(rng: Rng, data: bytes, most: int = 3) -> bytes:
    """Flip, overwrite, cut, double or insert some bytes."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, most + 1))):
        at = int(rng.integers(len(made) + 1))
        if rng.random() < 0.3:
            at = min(at, int(rng.integers(64)))  # headers are where most goes wrong
        kind = int(rng.integers(6))
        if kind == 0 and at < len(made):
            made[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            made[at : at + 4] = rng.bytes(4)
        elif kind == 2:
            made[at : at + 4] = pick(rng, (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        elif kind == 3 and rng.random() < 0.3:
            del made[at:]
        elif kind == 4:
            del made[at : at + int(rng.integers(1, 16))]
        else:
            made[at:at] = made[: int(rng.integers(1, 32))]
    return bytes(made)


def tree(rng: Rng, values: Any, most: int = 3) -> Any:
    """Change some of the values in nested dicts and lists; now and then forget or invent a name."""
    made = copy.deepcopy(values)
    for _ in range(int(rng.integers(1, most + 1))):
        here = made
        while isinstance(here, dict | list) and here:
            key = pick(rng, list(here)) if isinstance(here, dict) else int(rng.integers(len(here)))
            inner = here[key]
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.1:
                change(rng, here, key)
                break
            here = inner
    return made


def change(rng: Rng, here: Any, key: Any) -> None:
    """Replace one value by anything, or by a near one; drop it; or give it another name."""
    old, chance = here[key], rng.random()
    if isinstance(here, dict) and chance < 0.05:
        here[pick(rng, ("x", "mel", "name", ""))] = here.pop(key)
    elif chance < 0.1:
        del here[key]
    elif chance < 0.5 and isinstance(old, int) and not isinstance(old, bool):
        here[key] = int(pick(rng, (old + 1, old - 1, 2 * old, old // 2, old * 2**16, -old)))
    elif chance < 0.5 and isinstance(old, float):
        here[key] = float(pick(rng, (old * 10, old / 10, -old, old + 1, old * 1e9)))
    else:
        here[key] = value(rng)


def text(rng: Rng, lines: list[str]) -> str:
    """Some lines, damaged: characters replaced, doubled, put in; columns moved."""
    made = [pick(rng, lines) for _ in range(int(rng.integers(0, 6)))]
    for index in range(len(made)):
        letters = list(made[index])
        for _ in range(int(rng.integers(0, 4))):
            letters.insert(int(rng.integers(len(letters) + 1)), pick(rng, ALPHABET))
        if letters and rng.random() < 0.3:
            del letters[int(rng.integers(len(letters))) :]
        made[index] = "".join(letters)
    return pick(rng, ("\n", "\r\n", "\n\n", "\0")).join(made)
