"""What a site's owner allows: the X-Robots-Tag header, robots meta tags and the reservation of text and data mining.

Grammar of the header: Google's "Robots meta tag, data-nosnippet, and X-Robots-Tag specifications"; ``noai`` and
``noimageai`` are DeviantArt's. A directive may be prefixed by the name of one agent; unprefixed ones are for all.
``tdm-reservation`` and ``tdm-policy`` are those of the W3C community group's TDM Reservation Protocol (TDMRep).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from multidict import MultiMapping

from t2i_assets.crawl.status import Status

FORBIDS_USE = ("none", "noindex", "noimageindex", "noai", "noimageai")
"""Directives that forbid taking images and texts; ``none`` is ``noindex, nofollow``."""

_TAKES_A_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
_KNOWN = re.compile(
    r"(?:all|none|(?:no)?index|(?:no)?follow|no(?:archive|cache|snippet|odp|ydir|translate|ai|image\w+|site\w+)"
    r"|indexifembedded|unavailable_after|max-\w)"
)
_COMMA_IN_A_DATE = re.compile(
    r"(?<=\bmon),|(?<=\btue),|(?<=\bwed),|(?<=\bthu),|(?<=\bfri),|(?<=\bsat),|(?<=\bsun),"
    r"|(?<=day),(?=\s*\d)|(?<=\d),(?=\s*(?:19|20)\d\d\b)"
)


@dataclass(frozen=True)
class Verdict:
    """Whether something may be used.

    ``rule`` is "allowed" or what forbade it, ``evidence`` the literal text, ``status`` what the ledger says of a URL
    that is not fetched for it.
    """

    allowed: bool
    rule: str
    evidence: str | None = None
    status: Status = Status.OK


NOT_ASKED = Verdict(False, "not_asked")


def response_verdict(headers: MultiMapping[str], product: str, now: datetime | None = None) -> Verdict:
    """Judge what the headers of one response say: X-Robots-Tag, then the TDM reservation."""
    verdict = header_verdict(headers.getall("X-Robots-Tag", []), product, now)
    if not verdict.allowed:
        return verdict
    if reserves(headers.getall("tdm-reservation", [])):
        return reserved(headers.getall("tdm-policy", []), "")
    return verdict


def header_verdict(values: Iterable[str], product: str, now: datetime | None = None) -> Verdict:
    """Judge X-Robots-Tag header values (one per header line) for the crawler named ``product``."""
    return _verdict(((value, _directives(value, product)) for value in values), "X-Robots-Tag", now)


def meta_verdict(tags: Iterable[tuple[str, str]], product: str, now: datetime | None = None) -> Verdict:
    """Judge ``<meta name=… content=…>`` tags given as (name, content).

    ``robots``, ``product`` and ``tdm-reservation`` count; of a reservation ``tdm-policy`` is told too.
    """
    contents: dict[str, list[str]] = {}
    for name, content in tags:
        contents.setdefault(name.strip().lower(), []).append(content)
    mine = contents.get("robots", []) + contents.get(product.lower(), [])
    verdict = _verdict(((content, _content_words(content)) for content in mine), "meta robots", now)
    if verdict.allowed and reserves(contents.get("tdm-reservation", [])):
        return reserved(contents.get("tdm-policy", []), "meta ")
    return verdict


def may_follow(x_robots_tags: Iterable[str], tags: Iterable[tuple[str, str]], product: str) -> bool:
    """Return whether the links of a page may be followed (no ``nofollow`` or ``none``)."""
    found = [directive for value in x_robots_tags for directive in _directives(value, product)]
    for name, content in tags:
        if name.strip().lower() in ("robots", product.lower()):
            found += _content_words(content)
    return not {"nofollow", "none"} & set(found)


def reserves(values: Iterable[str]) -> bool:
    """Return whether one of the values of ``tdm-reservation`` reserves; only 1 does, 0 and errors do not."""
    return any(value.strip() == "1" for value in values)


def reserved(policies: Iterable[str], place: str) -> Verdict:
    """Return the verdict of a reservation that stands in ``place``; the policy tells where a licence can be had."""
    evidence = "; ".join([f"{place}tdm-reservation: 1", *(f"tdm-policy: {policy.strip()}" for policy in policies)])
    return Verdict(False, "tdm_reservation", evidence, Status.CONSENT_DENIED)


def _verdict(values: Iterable[tuple[str, list[str]]], place: str, now: datetime | None) -> Verdict:
    for literal, directives in values:
        for directive in directives:
            name, _, value = (text.strip() for text in directive.partition(":"))
            if name in FORBIDS_USE or (name == "unavailable_after" and _is_past(value, now or datetime.now(UTC))):
                return Verdict(False, name, f"{place}: {literal.strip()}", Status.CONSENT_DENIED)
    return Verdict(True, "allowed")


def _directives(value: str, product: str) -> list[str]:
    """Return the directives of one header value that are addressed to ``product`` or to all agents.

    An agent's name (``googlebot: noindex, nofollow``) addresses everything after it up to the next name; what follows
    it is a directive, or else it is itself one that this reader does not know.
    """
    found = []
    addressed = True
    for part in _split(value):
        name, colon, rest = (text.strip() for text in part.partition(":"))
        if colon and name not in _TAKES_A_VALUE and (not rest or _KNOWN.match(rest)):
            addressed = name.partition("/")[0] in ("*", "robots", product.lower())
            part = rest
        if addressed:
            found += _words(part)
    return found


def _content_words(content: str) -> list[str]:
    return [word for part in _split(content) for word in _words(part)]


def _split(value: str) -> list[str]:
    """Split at commas and semicolons, lower case; those inside a date stay (``Wed, 21 Oct 2026``, ``May 1, 2026``)."""
    value = _COMMA_IN_A_DATE.sub(" ", value.lower())
    return [part.strip() for part in re.split("[,;]", value) if part.strip()]


def _words(part: str) -> list[str]:
    """Split at spaces, which some write for commas; a directive with a value stays whole."""
    return [part] if part.startswith(_TAKES_A_VALUE) else part.split()


def _is_past(value: str, now: datetime) -> bool:
    """Return whether the date is over; an unreadable date counts as over, to err on the owner's side."""
    try:
        date = datetime.fromisoformat(value.upper())
    except ValueError:
        try:
            date = parsedate_to_datetime(re.sub(r"^(mon|tue|wed|thu|fri|sat|sun)[a-z]*\s+", "", value))
        except (ValueError, TypeError, OverflowError):
            return True
    return (date if date.tzinfo else date.replace(tzinfo=UTC)) <= now
