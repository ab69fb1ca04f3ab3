"""Pages of one file, put together from the static parts in `pages/` and data: they open anywhere, without a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

PARTS = Path(__file__).parent / "pages"


def assemble(
    template: str, title: str, styles: Sequence[str], scripts: Sequence[str], data: Mapping[str, object]
) -> str:
    """Put a page together from static parts and data; it needs nothing else, and runs nothing else.

    Its content security policy names the hash of each script, and allows no other and no network. Browsers open no
    modules from disk, so scripts are put in one after the other and share one scope.

    Args:
        template: The name of its HTML.
        title: The title in the window's frame.
        styles: The names of its CSS.
        scripts: The names of its JavaScript, in the order in which they run.
        data: The data, by the element's id under which a script finds it; an id is letters, digits, and '-'.
    """
    style = "\n".join(map(read_part, styles))
    code = [read_part(name) for name in scripts]
    policy = (
        f"default-src 'none'; style-src {_fingerprint(style)}; script-src {' '.join(map(_fingerprint, code))}; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(read_part(template)).substitute(
        policy=policy,
        title=html.escape(title),
        style=f"<style>{style}</style>",
        data="\n".join(
            f'<script type="application/json" id="{id_}">{inline_json(one)}</script>' for id_, one in data.items()
        ),
        scripts="\n".join(f"<script>{one}</script>" for one in code),
    )


def read_part(name: str) -> str:
    """Read a static part of a page."""
    return (PARTS / name).read_text(encoding="utf-8")


def inline_json(data: object) -> str:
    """Write JSON that may stand inside a script element, whatever its texts hold; NaN is an error."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def inline_audio(path: Path) -> str:
    """Give a file's bytes in base64."""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _fingerprint(text: str) -> str:
    """Give the hash that allows exactly this text in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
