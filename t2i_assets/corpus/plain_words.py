"""A text as plain words, so that case, punctuation and ways of writing a character make no difference.

Unicode Technical Standard 15 (NFKC) and the caseless matching of the Unicode Standard, section 3.13.
"""

import re
import unicodedata

_NO_WORD = re.compile(r"[^a-z0-9]+")


def plain_words(text: str) -> str:
    """Return the words of ``text`` between single spaces, case-folded and in NFKC.

    A word is a run of letters, digits and marks; invisible format characters inside of it are left out. Scripts that
    put no spaces between words come as one word per run.
    """
    if text.isascii():
        return _NO_WORD.sub(" ", text.lower()).strip()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(map(_letter_or_space, folded)).split())


def _letter_or_space(character: str) -> str:
    if character.isalnum():
        return character
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return character if category[0] == "M" else " "
