"""Which offered images are fetched at all: the pairs say what speaks against one, before anybody is asked."""

from pathlib import Path
from typing import Any

from t2i_assets.crawl.http.fetch import Fetched
from t2i_assets.crawl.image_stage.acquire import outcome_row
from t2i_assets.crawl.image_stage.offers import Offers, Pair
from t2i_assets.crawl.journal import Journal
from t2i_assets.crawl.status import Status

_STATUS_OF_REJECTION = {
    "icon": Status.TOO_SMALL,
    "tracking_pixel": Status.TOO_SMALL,
    "vector": Status.WRONG_CONTENT_TYPE,
    "outside_source": Status.OFF_SITE,
    "bad_row": Status.BAD_ARCHIVE,
}
"""Reasons that have no status of their own name."""

_NO_URL = "no_address"


def take_in(offers: Offers, pairs_dir: Path, journal: Journal, snapshot: str) -> None:
    """Put every URL of the pairs on the list of what is fetched, or write into the journal why it is not."""
    for url, pairs in offers.fill(pairs_dir):
        pairs = [pair for pair in pairs if pair["rejected"] != _NO_URL]
        reason = _refusal(pairs)
        if reason is not None:
            journal.add(_refused_row(url, pairs, reason, snapshot))
        elif pairs:
            offers.want(url)


def _refusal(pairs: list[Pair]) -> str | None:
    """Return why an image URL is not fetched, or None where it is.

    One page that forbids the use of its images decides for all pages that show the image; any other reason has to
    hold everywhere.
    """
    reasons = [pair["rejected"] for pair in pairs]
    denied = [reason for reason in reasons if reason and _rule_of(reason)]
    if denied:
        return str(denied[0])
    return None if None in reasons or not reasons else reasons[0]


def _refused_row(url: str, pairs: list[Pair], reason: str, snapshot: str) -> dict[str, Any]:
    pair = next(pair for pair in pairs if pair["rejected"] == reason)
    rule = _rule_of(reason)
    status = Status.CONSENT_DENIED if rule else _STATUS_OF_REJECTION.get(reason) or Status(reason)
    fetched = Fetched(url, url, status, f"not fetched: {reason}", started=0.0)
    row = outcome_row(fetched, None, pair, snapshot) | {"final_url": None}
    if rule:
        row |= {"consent": rule, "consent_evidence": f"the page {pair['page_url']} says {rule}"}
    return row


def _rule_of(reason: str) -> str | None:
    """Return the rule of consent by which the page refuses, as in ``page_noai``."""
    rule = reason.removeprefix("page_")
    return rule if rule != reason and reason != Status.PAGE_UNREADABLE else None
