"""Case folding for search, sort by title and comparison of tags, done in Python so that both databases agree.

The frontend folds in the same way (frontend/src/data/fold.ts); tests/tasks/folding.json has examples for both. After a
change of `fold` the stored columns must be computed again: increase `VERSION`, and add a migration like 0009.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from ..http.fields.invisible import DEFAULT_IGNORABLE

VERSION = 2
"""Incremented when `fold` returns another text for the same input; a migration and the purge refold then."""

MAX_FOLDED = 20_000
"""Maximum characters of folded text that are stored for search.

Folding can expand one character to 18 (U+FDFA); ordinary text hardly grows.
"""

_LETTERS = """
a=ᶏⱥ aa=ꜳ ae=æ ao=ꜵ au=ꜷ av=ꜹꜻ ay=ꜽ b=ƀƃɓᵬᶀꞗ c=ƈȼɕꞓꞔ d=ðđƌȡɖɗᵭᶁᶑꟈ e=ɇᶒⱸꬴ et=ꝫ f=ƒᵮᶂꞙ g=ǥɠᶃꞡ h=ħɦⱨꞕ
hv=ƕ i=ıɨᶖ is=ꝭ j=ȷɉʝ k=ƙᶄⱪꝁꝃꝅꞣ l=łƚȴɫɬɭᶅⱡꝉꞎꬷꬸꬹ m=ɱᵯᶆꬺ n=ŋƞȵɲɳᵰᶇꞑꞥꬻ o=øⱺꝋꝍ oe=œ oi=ƣ oo=ꝏ ou=ȣ
p=ƥᵱᵽᶈꝑꝓꝕ q=ĸɋʠꝗꝙ r=ɍɼɽɾᵲᵳᶉꞧꭉ s=ȿʂᵴᶊꞩꟊ t=ŧƫƭȶʈᵵⱦ th=þᵺ tz=ꜩ u=ʉᶙꞹꭎꭒ ue=ᵫ ui=ꭐ um=ꝸ uo=ꭣ v=ʋᶌⱱⱴꝟ vy=ꝡ
w=ⱳ x=ᶍꭖꭗꭘꭙ y=ƴɏỿꭚ z=ƶȥɀʐʑᵶᶎⱬ
"""

LETTERS = dict(pair.split("=") for pair in _LETTERS.split())
"""The small Latin letters that Unicode does not decompose, by the letters that are typed instead of them.

They are those whose name is one or two letters, or such "with stroke", "with hook" and the like (LATIN SMALL LETTER O
WITH STROKE), and eth, thorn, eng, kra and the dotless letters, as in the transform Latin-ASCII of the Unicode CLDR.
"""

PUNCTUATION = {
    "'": "‘’‚‛′‹›ʹʻʼʽˈ՚׳❛❜",
    '"': "“”„‟«»″〝〞〟״❝❞",
    "-": "‐‒–—―⸺⸻−⁃־",
}
"""Quotes, apostrophes, primes and dashes, by the ASCII character that keyboards have instead of them."""

MAX_DECOMPOSED = 4 * MAX_FOLDED
"""Maximum characters of a decomposed text that are folded: 10,000 times U+FDFA would take 6 ms.

The folded text is shorter than `MAX_FOLDED` only if three quarters of a decomposed text of this length are removed.
"""

_SPACING_ACUTE, _DOUBLE_PRIME = " \u0301", "\u2032\u2032"
"""The compatibility decompositions of U+00B4, which is typed as an apostrophe, and of U+2033, for inches."""

_KANA_MARKS = "\u3099\u309a"

_MARKS = tuple(
    code
    for code in range(0x0300, 0x1F000)  # beyond are only variation selectors, which are default ignorable
    if unicodedata.category(chr(code)) in ("Mn", "Me") and chr(code) not in _KANA_MARKS
)
"""All nonspacing and enclosing marks (general categories Mn and Me), except the voicing marks of kana."""

_TABLE: Mapping[int, str | None] = {
    **{code: None for first, last in DEFAULT_IGNORABLE for code in range(first, last + 1)},
    **dict.fromkeys(_MARKS),
    **{ord(each): typed for typed, many in (LETTERS | PUNCTUATION).items() for each in many},
}
"""What `str.translate` removes (None) and replaces."""

# The class lists the characters below U+10000 only, so that a search takes 10 ns for each character.
_CHANGED = re.compile(f"[{''.join(chr(code) for code in _TABLE if code < 0x10000)}\U00010000-\U0010ffff]+")


def fold(text: str) -> str:
    """Fold case, accents and typography for search and sort (`CAFÉ` -> `cafe`, `Łódź – “x”` -> `lodz - "x"`).

    This is Unicode's compatibility case folding (The Unicode Standard, section 3.13, D146) with `LETTERS` and
    `PUNCTUATION` replaced, and without the combining marks of all scripts, among them the points of Hebrew and Arabic
    and some vowel signs of Thai and Indic scripts. The voicing marks of kana remain, because they make another letter
    (`ガ` is not `カ`). Python folds, not the database, so that SQLite and PostgreSQL give the same results.
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())[:MAX_DECOMPOSED]
    decomposed = decomposed.replace(_SPACING_ACUTE, "'").replace(_DOUBLE_PRIME, '"')
    return unicodedata.normalize("NFKC", _CHANGED.sub(_translate, decomposed))


def _translate(match: re.Match[str]) -> str:
    """Return the matched characters with those of `_TABLE` removed or replaced."""
    return match[0].translate(_TABLE)


def search_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `folded_…` columns of the members in `values`; {} if it has no title, description or tags.

    Title and description are folded with `fold` and cut at `MAX_FOLDED` characters; tags only with `str.casefold`. The
    column of a null description is None.
    """
    columns: dict[str, Any] = {}
    for name in ("title", "description"):
        if name in values:
            columns[f"folded_{name}"] = None if values[name] is None else fold(values[name])[:MAX_FOLDED]
    if "tags" in values:
        columns["folded_tags"] = tuple(tag.casefold() for tag in values["tags"])
    return columns
