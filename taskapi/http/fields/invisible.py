"""Characters that show nothing, of which alone a title or a tag must not consist."""

from __future__ import annotations

import re

DEFAULT_IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""First and last code points of the ranges of Default_Ignorable_Code_Point (DerivedCoreProperties.txt of Unicode 16).

They are what is not displayed: the soft hyphen, fillers, zero-width and bidirectional characters, variation selectors,
tags, and what is reserved for more of them. Python's `unicodedata` does not have this property.
"""

WITHOUT_GLYPH = ((0x2800, 0x2800), (0xFFF9, 0xFFFB), (0x13441, 0x13442), (0x1D159, 0x1D159))
"""Further ranges of characters that show nothing: the braille pattern without dots, interlinear annotation, the
blanks of Egyptian hieroglyphs, and the null notehead of music.
"""

_RANGES = (*DEFAULT_IGNORABLE, *WITHOUT_GLYPH)

PATTERN_CLASS = "".join(rf"\u{first:04x}-\u{last:04x}" for first, last in _RANGES if last < 0x10000)
"""The invisible characters below U+10000, for a character class in a `pattern` of JSON Schema."""

_BLANK = re.compile(rf"[\s{''.join(f'{chr(first)}-{chr(last)}' for first, last in _RANGES)}]*")


def is_blank(text: str) -> bool:
    """Return True if no character of the text can be seen: it is empty, or has spaces and invisible characters only."""
    return _BLANK.fullmatch(text) is not None
