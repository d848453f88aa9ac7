"""Second stage: from kept HTML to image and text pairs. No network; rejected rows stay, with the reason."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2i_assets.corpus.schemas import PAGES, PAIRS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.consent import Verdict, header_verdict, meta_verdict
from t2i_assets.crawl.html import ImageCandidate, parse_page
from t2i_assets.crawl.texts import clean, label

_NO_TEXTS: list[tuple[str | None, str | None]] = [(None, None)]
_VECTOR = re.compile(r"\.svgz?(?:$|[?#])", re.IGNORECASE)


def extract_pairs(pages_dir: Path, out_dir: Path, snapshot: str, config: CrawlConfig) -> dict[str, Any]:
    """Read PAGES, write PAIRS: one row per image and text, or one without a text where there is none.

    Returns the funnel: image URLs found, rows by reason of rejection, texts by label.
    """
    rows = [row for page in read_rows(pages_dir, PAGES) for row in _page_rows(page, config, snapshot)]
    write_table(out_dir / "00000.parquet", rows, PAIRS)
    accepted = [row for row in rows if row["rejected"] is None]
    return {
        "rows": len(rows),
        "image_urls": len({row["image_url"] for row in rows}),
        "image_urls_to_fetch": len({row["image_url"] for row in accepted}),
        "rejected": dict(Counter(row["rejected"] for row in rows if row["rejected"]).most_common()),
        "text_fields": dict(Counter(row["text_field"] for row in accepted).most_common()),
        "text_labels": dict(Counter(name for row in accepted for name in row["labels"] or ["clean"]).most_common()),
    }


def _page_rows(page: dict[str, Any], config: CrawlConfig, snapshot: str) -> Iterator[dict[str, Any]]:
    parsed = parse_page(page["body"], page["content_type"], page["final_url"])
    verdict = _page_verdict(page, parsed.metas, config.product)
    for image in parsed.images:
        texts: list[tuple[str | None, str | None]] = [
            (cleaned, one.field) for one in image.texts if (cleaned := clean(one.text))
        ]
        denied = None if verdict.allowed else f"page_{verdict.rule}"
        rejected = image.problem or denied or _reject(image, config) or (None if texts else "no_text")
        for text, text_field in texts or _NO_TEXTS:
            yield {
                "snapshot": snapshot,
                "source": page["source"],
                "page_url": page["final_url"],
                "image_url": image.url,
                "image_field": image.field,
                "text": text,
                "text_field": text_field,
                "position": image.position,
                "declared_width": image.width,
                "declared_height": image.height,
                "labels": label(text, config.texts) if text else [],
                "license_url": parsed.license_url,
                "rejected": rejected,
            }


def _page_verdict(page: dict[str, Any], metas: list[tuple[str, str]], product: str) -> Verdict:
    """Return the page's own wish: its header first, then its tags."""
    verdict = header_verdict((page["x_robots_tag"] or "").splitlines(), product)
    return meta_verdict(metas, product) if verdict.allowed else verdict


def _reject(image: ImageCandidate, config: CrawlConfig) -> str | None:
    """Return why an image is not fetched, as far as its page tells."""
    if _VECTOR.search(image.url):
        return "vector"
    declared = [side for side in (image.width, image.height) if side is not None]
    if declared and min(declared) <= 2:
        return "tracking_pixel"
    if len(declared) == 2 and max(declared) < config.images.min_side:
        return "icon"
    return None
