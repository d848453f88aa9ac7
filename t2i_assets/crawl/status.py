"""How it can end: what became of a URL, and why a crawl stops."""

from enum import StrEnum


class Status(StrEnum):
    """What became of a URL."""

    OK = "ok"
    UNCHANGED = "unchanged"
    # The address
    BAD_URL = "bad_url"
    DATA_URI = "data_uri"
    DUPLICATE_URL = "duplicate_url"
    OFF_SITE = "off_site"
    FILE_MISSING = "file_missing"
    # The network
    DNS = "dns"
    REFUSED = "refused"
    DISCONNECTED = "disconnected"
    TLS = "tls"
    TIMEOUT = "timeout"
    SSRF_BLOCKED = "ssrf_blocked"
    # The response
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HTTP_OTHER = "http_other"
    RATE_LIMITED = "rate_limited"
    REDIRECT_LIMIT = "redirect_limit"
    BAD_RESPONSE = "bad_response"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    CIRCUIT_OPEN = "circuit_open"
    # The owner's wish
    PURGED = "purged"
    ROBOTS_DISALLOWED = "robots_disallowed"
    CONSENT_DENIED = "consent_denied"
    # The image
    DECODE_FAILED = "decode_failed"
    TOO_SMALL = "too_small"
    BAD_ASPECT = "bad_aspect"
    BOMB = "bomb"
    # The text
    NO_TEXT = "no_text"
    BAD_TEXT = "bad_text"
    # What names images and texts
    NO_IMAGE = "no_image"
    BAD_ARCHIVE = "bad_archive"
    PAGE_UNREADABLE = "page_unreadable"


TRANSIENT = frozenset(
    {Status.RATE_LIMITED, Status.HTTP_5XX, Status.TIMEOUT, Status.REFUSED, Status.DISCONNECTED, Status.TRUNCATED}
)
"""Outcomes that another try may mend."""


class CrawlFailedError(RuntimeError):
    """Nothing at all could be fetched; the message says what happened and what to look at."""
