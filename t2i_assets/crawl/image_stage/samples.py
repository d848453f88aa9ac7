"""One sample: an image with the texts of every URL and page that showed it."""

from collections.abc import Mapping, Sequence
from typing import Any

from t2i_assets.crawl.image_stage.offers import Pair
from t2i_assets.crawl.texts import FIELD_ORDER

_TRUST = {field: rank for rank, field in enumerate(FIELD_ORDER)}


def sample_row(
    key: str, image: Mapping[str, Any], ledger_row: Mapping[str, Any], pairs: Sequence[Pair]
) -> dict[str, Any]:
    """Return the SAMPLES row without what the shard writer fills.

    ``image`` is what was measured of it, ``ledger_row`` that of the first URL that gave it, ``pairs`` all that speak
    of its URLs, in the order in which they were found. Texts come in order of trust in their field; the first clean
    one is the alt text. A field that no page has, a list's column or a file, is trusted like an alt text.
    """
    pairs = sorted(
        pairs, key=lambda pair: (_TRUST.get(pair["text_field"], 0), pair["page_url"] or "", pair["position"])
    )
    page = min(pairs, key=lambda pair: (pair["page_url"] or "", pair["position"]))
    clean = [pair["text"] for pair in pairs if not pair["labels"]]
    texts: dict[tuple[str, str, str | None], list[str]] = {}
    for pair in pairs:
        texts.setdefault((pair["text"], pair["text_field"], pair["page_url"]), pair["labels"])
    return {
        **image,
        "key": key,
        "source": page["source"],
        "image_url": ledger_row["url"],
        "page_url": page["page_url"],
        "license_url": page["license_url"],
        "consent": f"{ledger_row['consent']}: {ledger_row['consent_evidence']}",
        "alt_text": (clean or [pairs[0]["text"]])[0],
        "texts": [
            {"text": text, "field": field, "page_url": page_url, "labels": labels}
            for (text, field, page_url), labels in texts.items()
        ],
    }
