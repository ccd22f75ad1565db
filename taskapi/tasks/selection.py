"""Which tasks a list shows and in which order, with the folding that search and sort by title rest on."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

ORDERS = ("created_at", "updated_at", "title")
ALIASES = {"created": "created_at"}

SORTS = {sign + word: sign + ALIASES.get(word, word) for word in (*ORDERS, *ALIASES) for sign in ("", "-")}
"""Every spelling of `sort` and the one it means."""

_DIACRITICS = re.compile("[\u0300-\u036f]")


@dataclass(frozen=True)
class Selection:
    """What is asked for. `q` is folded; `completed` None means both; `sort` is one of the values of `SORTS`."""

    limit: int
    sort: str = "-created_at"
    completed: bool | None = None
    q: str | None = None
    cursor: str | None = None
    with_total: bool = False

    @property
    def filters(self) -> str:
        """What a cursor is bound to: it continues this walk and no other."""
        return repr((self.sort, self.completed, self.q))


def fold(text: str) -> str:
    """Text as search compares it: case and accents gone (`CAFÉ`, `cafe`), other marks kept (`ガ` is not `カ`).

    Unicode's compatibility case folding (The Unicode Standard, section 3.13, D146) without the marks of the
    block U+0300. Done here and not in the database, so that SQLite and PostgreSQL agree.
    """
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFKC", _DIACRITICS.sub("", decomposed))
