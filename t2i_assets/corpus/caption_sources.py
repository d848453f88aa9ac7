"""Who wrote a caption, as its row says, and what the crawl's hygiene says of a text."""

from typing import Literal

CaptionSource = Literal["alt", "human", "synthetic_short", "synthetic_descriptive"]

HygieneLabel = Literal[
    "too_short", "too_long", "file_name", "url", "markup", "boilerplate", "advert", "keyword_stuffing", "no_words",
    "not_english", "mojibake",
]  # fmt: skip
