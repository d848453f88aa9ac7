"""Hygiene of texts from the web: cleaned once, then labelled, never deleted.

Which labels keep a text from training is for the caption filter to learn, or for a query to say.
"""

import functools
import html
import re
import unicodedata
from collections import Counter
from typing import get_args

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from t2i_assets.corpus.caption_sources import HygieneLabel
from t2i_assets.crawl.config import TextConfig

FIELD_ORDER = (
    "alt", "figcaption", "title", "aria-label", "aria-labelledby", "og:image:alt", "twitter:image:alt",
    "json-ld:caption", "json-ld:description", "json-ld:name",
)  # fmt: skip
"""Fields in order of trust: the first clean text becomes the alt text of a sample."""

LABELS: tuple[HygieneLabel, ...] = get_args(HygieneLabel)

_EXTENSIONS = r"(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic)"
_FILE_NAME = re.compile(
    rf"\S+\.{_EXTENSIONS}(?:\?\S*)?"  # photo.jpg, a-b_c.png
    r"|(?:img|dsc[fn]?|p|pict|image|photo|screenshot|scan|untitled|wp|mvi|gopr)[\s_-]*\d[\d\s_-]*"  # IMG_2034, photo 3
    r"|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*"  # digests and uuids
    r"|[^\W_]+(?:[_-][^\W_]+){2,}",  # red_circle_final_v2: words joined without a space
    re.IGNORECASE,
)
_HOLDS_FILE_NAME = re.compile(rf"[\w-]\.{_EXTENSIONS}\b", re.IGNORECASE)
_URL = re.compile(r"https?://|www\.|\b\w+\.(?:com|net|org|io|co|shop|info)\b", re.IGNORECASE)
_MARKUP = re.compile(r"</?[a-z][^>]*>|\{\{|\}\}|&[a-z]+;|\[/?[a-z]+\]", re.IGNORECASE)
_BOILERPLATE = re.compile(
    r"(?:click|tap|press|hover)\b.*|(?:read|see|view|learn|show|load) (?:more|full|larger|all).*|(?:enlarge|zoom).*"
    r"|(?:the |an? |our |site |company |header |footer )*(?:image|images|img|photo|photos|picture|pic|logo|icon|banner"
    r"|thumbnail|placeholder|avatar|graphic|header|footer|spacer|pixel|background|untitled|gallery|slide|product image"
    r"|featured image|hero image|stock photo)(?: (?:of the page|image|here|not available|not found|missing|loading))?"
    r"[.:!]*|(?:no|missing) (?:image|photo|alt|description).*|loading\W*|home(?:page)?|menu|search|share.*|follow us.*"
    r"|copyright\b.*|all rights reserved.*|image (?:may contain|courtesy|credit|via|source).*|photo (?:by|credit).*"
    r"|alt(?: text)?|description|caption|n/?a|null|undefined|none|todo|lorem ipsum.*",
    re.IGNORECASE,
)
_ADVERT = re.compile(
    r"\d+\s*% off|\b(?:buy (?:now|one|online|cheap|it)|shop (?:now|the|our|online)|order (?:now|today)|on sale"
    r"|free shipping|free delivery|best (?:price|deal|offer)s?|limited (?:time|offer|edition offer)|special offer"
    r"|discounts?|coupon"
    r"|promo(?:tion)?(?: code)?|subscribe|newsletter|sign up|advert(?:isement|ising)?|sponsored|clearance"
    r"|add to (?:cart|basket)|in stock|lowest prices?|save \$?\d+|deal of the day|money.back|call now|click here)\b"
    r"|[$€£]\s?\d",
    re.IGNORECASE,
)
_MOJIBAKE = re.compile(r"[ÂÃ][\u0080-\u00bf\u2018-\u2122]|â€[\u0080-\u009f\u2018-\u2122œ˜]|ï¿½|\ufffd")
_READ = 4000  # characters that the patterns look at
_TIMES_ESCAPED = 3
_ENDLESS_REFERENCE = re.compile(r"&#\d{100,};?")  # Python refuses to read numbers of more than 4,300 digits
_MARKS_IN_A_ROW = 30
_JOINERS = "\u200c\u200d"
_COMMON = frozenset(
    ("a", "an", "the", "of", "and", "or", "on", "in", "at", "to", "with", "is", "are", "by", "for", "from")
)


def clean(text: str) -> str:
    """Return the text with entities resolved, in Unicode NFC, spaces collapsed, without what cannot be seen.

    Control characters part words. Soft hyphens, zero-width characters, marks of direction and tags stand inside words
    and go without a trace; joiners stay, since emoji, Persian and Indic scripts are written with them. Entities that
    were escaped several times are resolved up to three times.
    """
    for _ in range(_TIMES_ESCAPED):
        text, before = html.unescape(_ENDLESS_REFERENCE.sub("\ufffd", text)), text
        if text == before:
            break
    return " ".join(unicodedata.normalize("NFC", _stream_safe("".join(map(_visible, text)))).split())


def _stream_safe(text: str) -> str:
    """Return the text with long runs of combining marks parted by U+034F: UAX #15, section 13.

    Sorting a run of marks takes time that grows with the square of its length.
    """
    if text.isascii():
        return text
    parts, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > _MARKS_IN_A_ROW:
            parts.append("\u034f")
            marks = 1
        parts.append(character)
    return "".join(parts)


def _visible(character: str) -> str:
    """Return what is left of one character."""
    if character.isspace() or character in _JOINERS:
        return character
    match unicodedata.category(character):
        case "Cc" | "Cs" | "Co":
            return " "
        case "Cf":
            return ""
        case _:
            return character


def label(text: str, config: TextConfig) -> list[str]:
    """Return the labels of a cleaned text, in the order of LABELS; none means that nothing speaks against it."""
    whole, text = text, text[:_READ]
    words = re.findall(r"[^\W\d_]+", text)
    found = {
        "too_short": len(words) < config.min_words or len(text) < config.min_characters,
        "too_long": len(whole) > config.max_characters,
        "file_name": bool(_FILE_NAME.fullmatch(text) or _HOLDS_FILE_NAME.search(text)),
        "url": bool(_URL.search(text)),
        "markup": bool(_MARKUP.search(text)),
        "boilerplate": bool(_BOILERPLATE.fullmatch(text)),
        "advert": bool(_ADVERT.search(text)),
        "keyword_stuffing": _is_stuffed(text, words),
        "no_words": not words,
        "mojibake": _is_mojibake(text),
    }
    found["not_english"] = not found["file_name"] and not found["url"] and bool(words) and _is_foreign(text, config)
    return [name for name in LABELS if found[name]]


def _is_mojibake(text: str) -> bool:
    """Return whether UTF-8 was read as Windows-1252, or what could not be read was replaced."""
    if text.isascii():
        return False
    if _MOJIBAKE.search(text):
        return True
    try:
        text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return False
    return True


def _is_stuffed(text: str, words: list[str]) -> bool:
    """Return whether a text lists search terms: many short parts, or one word over and over."""
    parts = [part.split() for part in re.split(r"[,|;/•·#]+", text) if part.strip()]
    if len(parts) >= 5 and sum(map(len, parts)) / len(parts) <= 3:
        return True
    counts = Counter(word.lower() for word in words if word.lower() not in _COMMON)
    return bool(counts) and len(words) >= 6 and counts.most_common(1)[0][1] >= max(3, 0.3 * len(words))


def _is_foreign(text: str, config: TextConfig) -> bool:
    """Return whether another language is far more likely than English.

    Short texts carry little evidence, so likelihoods are compared instead of taking the first guess. Nigerian Pidgin
    (pcm) is scored as English: the model cannot tell them apart in a few words.
    """
    likelihoods = dict(_identifier().rank(text))
    english = likelihoods.get("en", 0.0) + likelihoods.get("pcm", 0.0)
    return max(likelihoods.values()) > config.english_ratio * english


@functools.cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
