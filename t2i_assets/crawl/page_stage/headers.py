"""The headers of a page that PAGES keeps: by them the owner's wish is judged again wherever the page is used."""

from collections.abc import Mapping
from typing import Any

from multidict import CIMultiDict, MultiMapping

from t2i_assets.crawl.consent.verdict import Verdict, meta_verdict, response_verdict

_COLUMNS = {"x_robots_tag": "X-Robots-Tag", "tdm_reservation": "tdm-reservation", "tdm_policy": "tdm-policy"}


def page_verdict(headers: MultiMapping[str], metas: list[tuple[str, str]], product: str) -> Verdict:
    """Return what the owner of a page says about the use of it: the headers first, then the tags."""
    verdict = response_verdict(headers, product)
    return meta_verdict(metas, product) if verdict.allowed else verdict


def kept_columns(headers: MultiMapping[str]) -> dict[str, str | None]:
    """Return the columns of PAGES that hold the wish of a response; several lines of one header stand on lines."""
    return {column: "\n".join(headers.getall(name, [])) or None for column, name in _COLUMNS.items()}


def kept_headers(page: Mapping[str, Any]) -> CIMultiDict[str]:
    """Return those headers of a PAGES row as they came."""
    headers: CIMultiDict[str] = CIMultiDict()
    for column, name in _COLUMNS.items():
        for value in (page.get(column) or "").splitlines():
            headers.add(name, value)
    return headers
