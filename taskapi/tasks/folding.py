"""Case folding for search, sort by title and comparison of tags, done in Python so that both databases agree."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

MAX_FOLDED = 20_000
"""Maximum characters of folded text that are stored for search.

Folding can expand one character to 18 (U+FDFA); ordinary text hardly grows.
"""

_DIACRITICS = re.compile("[\u0300-\u036f]")


def fold(text: str) -> str:
    """Fold case and remove accents for search and sort (`CAFÉ` -> `cafe`); other marks remain (`ガ` is not `カ`).

    This is Unicode's compatibility case folding (The Unicode Standard, section 3.13, D146) without the combining marks
    U+0300 to U+036F. Python folds, not the database, so that SQLite and PostgreSQL give the same results.
    """
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFKC", _DIACRITICS.sub("", decomposed))


def search_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `folded_…` columns of the members in `values`; for absent members there are none.

    Title and description are folded with `fold` and cut at `MAX_FOLDED`; tags only with `str.casefold`.
    """
    columns: dict[str, Any] = {}
    for name in ("title", "description"):
        if name in values:
            columns[f"folded_{name}"] = None if values[name] is None else fold(values[name])[:MAX_FOLDED]
    if "tags" in values:
        columns["folded_tags"] = tuple(tag.casefold() for tag in values["tags"])
    return columns
