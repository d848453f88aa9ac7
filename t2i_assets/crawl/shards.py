"""Third stage: fetch the images of the pairs, store each once, and write them as shards in order of their keys.

Order comes from content, never from the network: the same images give the same bytes, whether the run was killed
and resumed or not.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.schemas import PAIRS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig, Progress, silent
from t2i_assets.crawl.consent import header_verdict
from t2i_assets.crawl.fetch import ACCEPT_IMAGE, Fetched, Fetcher, Permit
from t2i_assets.crawl.images import ImageError, StoredImage, process_image
from t2i_assets.crawl.journal import Journal
from t2i_assets.crawl.ledger import CrawlFailedError, Status, count_statuses, raise_if_all_failed, write_ledger
from t2i_assets.crawl.robots import Robots
from t2i_assets.crawl.texts import FIELD_ORDER

_STATUS_OF_REJECTION = {
    "no_text": Status.NO_TEXT,
    "data_uri": Status.DATA_URI,
    "bad_url": Status.BAD_URL,
    "icon": Status.TOO_SMALL,
    "tracking_pixel": Status.TOO_SMALL,
    "vector": Status.WRONG_CONTENT_TYPE,
}
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream")
_ENOUGH_TO_JUDGE = 20


def fetch_images(
    pairs_dir: Path,
    config: CrawlConfig,
    snapshot: str,
    out_shards_dir: Path,
    out_ledger_file: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Fetch every image that a pair asks for; write shards, sidecars and one ledger row per image URL.

    What was fetched is journalled in ``out_shards_dir``: a run that was killed goes on where it stopped.
    Returns the funnel. Raises CrawlFailedError where many images were tried and not one was fetched.
    """
    rows_of_url: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(pairs_dir, PAIRS):
        if row["rejected"] != "no_address":
            rows_of_url[row["image_url"]].append(row)
    purpose = digest([snapshot, config.model_dump(mode="json"), sorted(map(_identity, _all_rows(rows_of_url)))])
    with Journal(out_shards_dir / ".journal", purpose) as journal:
        wanted = []
        refused = []
        for url, rows in rows_of_url.items():
            reason = _refusal(rows)
            if reason is None:
                wanted.append(url)
            else:
                refused.append(_refused_row(url, rows, reason, snapshot, config))
        asyncio.run(_fetch_all(wanted, rows_of_url, config, snapshot, journal, progress))
        outcomes = [journal.rows[url] for url in wanted]
        robots = [row for row in journal.rows.values() if row["kind"] == "robots"]
        try:
            raise_if_all_failed("image", outcomes, _ENOUGH_TO_JUDGE)
        except CrawlFailedError:
            journal.remove()  # failures of a dead network are nothing to go on with
            raise
        samples = _write_shards(journal, outcomes, rows_of_url, snapshot, config, out_shards_dir)
        write_ledger(out_ledger_file, outcomes + refused + robots)
        images = list(journal.images.values())
        journal.remove()
    return {
        "image_urls": len(outcomes) + len(refused),
        "image_urls_tried": len(outcomes),
        "images_fetched": sum(row["status"] == Status.OK for row in outcomes),
        "samples": samples,
        "image_statuses": count_statuses(outcomes + refused),
        "original_formats": dict(Counter(image["original_format"] for image in images).most_common()),
        "bytes": sum(row["bytes"] for row in outcomes),
    }


def _all_rows(rows_of_url: dict[str, list[dict[str, Any]]]) -> Iterable[dict[str, Any]]:
    return (row for rows in rows_of_url.values() for row in rows)


def _identity(row: dict[str, Any]) -> str:
    return "\t".join(str(row[name]) for name in ("image_url", "page_url", "text_field", "text", "rejected"))


def _refusal(rows: list[dict[str, Any]]) -> str | None:
    """Return why an image URL is not fetched, or None where it is.

    One page that forbids the use of its images decides for all pages that show the image; any other reason has to
    hold everywhere.
    """
    reasons = [row["rejected"] for row in rows]
    denied = [reason for reason in reasons if reason and reason.startswith("page_")]
    if denied:
        return denied[0]
    return None if None in reasons else reasons[0]


def _refused_row(
    url: str, rows: list[dict[str, Any]], reason: str, snapshot: str, config: CrawlConfig
) -> dict[str, Any]:
    page = next(row for row in rows if row["rejected"] == reason)
    denied = reason.removeprefix("page_") if reason.startswith("page_") else None
    fetched = Fetched(url, url, _STATUS_OF_REJECTION.get(reason, Status.CONSENT_DENIED), f"not fetched: {reason}")
    fetched.started = 0.0
    row = fetched.ledger_row(snapshot, "image", page["source"], parent_url=page["page_url"])
    if denied:
        row |= {"consent": denied, "consent_evidence": f"the page {page['page_url']} says {denied}"}
    return row | {"final_url": None, "license_url": page["license_url"]}


async def _fetch_all(
    urls: list[str],
    rows_of_url: dict[str, list[dict[str, Any]]],
    config: CrawlConfig,
    snapshot: str,
    journal: Journal,
    progress: Progress,
) -> None:
    """Fetch what the journal does not hold yet."""
    counts = Counter(journal.rows[url]["status"] for url in urls if url in journal.rows)
    todo = iter([url for url in urls if url not in journal.rows])

    async def work() -> None:
        for url in todo:
            page = rows_of_url[url][0]
            fetched, image = await fetch_image(url, config, fetcher, robots.verdict, pool)
            row = fetched.ledger_row(
                snapshot,
                "image",
                page["source"],
                parent_url=page["page_url"],
                license_url=page["license_url"],
                sha256=image.original_sha256 if image else None,
                key=image.key if image else None,
            )
            journal.add(row, image)
            counts[row["status"]] += 1
            progress(sum(counts.values()), len(urls), counts)

    with ThreadPoolExecutor(config.images.workers, "decode") as pool:
        async with Fetcher(config) as fetcher:
            robots = Robots(fetcher, config, snapshot)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(2 * config.fetch.concurrency, len(urls))):
                    group.create_task(work())
    for row in robots.ledger_rows:
        if row["url"] not in journal.rows:
            journal.add(row)


async def fetch_image(
    url: str, config: CrawlConfig, fetcher: Fetcher, permit: Permit, pool: ThreadPoolExecutor
) -> tuple[Fetched, StoredImage | None]:
    """Fetch, check and decode one image; the image is None where the outcome's status is not ``ok``."""
    fetched = await fetcher.fetch(url, ACCEPT_IMAGE, config.fetch.max_image_bytes, permit)
    if fetched.status != Status.OK:
        return fetched, None
    verdict = header_verdict(fetched.headers.getall("X-Robots-Tag", []), config.product)
    if not verdict.allowed:
        fetched.status, fetched.detail, fetched.verdict = Status.CONSENT_DENIED, verdict.evidence, verdict
        return fetched, None
    if not fetched.media_type.startswith("image/") and fetched.media_type not in _UNTYPED:
        fetched.status = Status.WRONG_CONTENT_TYPE
        fetched.detail = f"Content-Type {fetched.content_type!r} is not an image"
        return fetched, None
    try:
        image = await asyncio.get_running_loop().run_in_executor(pool, process_image, fetched.body, config.images)
    except ImageError as error:
        fetched.status, fetched.detail = error.status, str(error)
        return fetched, None
    return fetched, image


def _write_shards(
    journal: Journal,
    outcomes: list[dict[str, Any]],
    rows_of_url: dict[str, list[dict[str, Any]]],
    snapshot: str,
    config: CrawlConfig,
    directory: Path,
) -> int:
    """Write one sample per key, in order of key, with the texts of every URL and page that showed it."""
    for left_over in directory.glob("*.*"):
        if left_over.stem.isdigit() or left_over.suffix == ".tmp":
            left_over.unlink()
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in outcomes:
        if row["status"] == Status.OK:
            found[row["key"]].append(row)
    with ShardWriter(directory, snapshot, config.images.samples_per_shard) as writer:
        for key in sorted(found):
            ledger_rows = sorted(found[key], key=lambda row: row["url"])
            pairs = [pair for row in ledger_rows for pair in rows_of_url[row["url"]] if pair["rejected"] is None]
            sample = _sample(key, ledger_rows[0], pairs, journal.images[key])
            more = {"image_urls": [row["url"] for row in ledger_rows]}
            writer.write(sample, journal.read_image(key), sample["alt_text"], more)
    return len(found)


def _sample(key: str, ledger_row: dict[str, Any], pairs: list[dict[str, Any]], image: dict[str, Any]) -> dict[str, Any]:
    pairs = sorted(pairs, key=lambda pair: (FIELD_ORDER.index(pair["text_field"]), pair["page_url"], pair["position"]))
    page = min(pairs, key=lambda pair: (pair["page_url"], pair["position"]))
    clean = [pair["text"] for pair in pairs if not pair["labels"]]
    texts: dict[tuple[str, str, str], list[str]] = {}
    for pair in pairs:
        texts.setdefault((pair["text"], pair["text_field"], pair["page_url"]), pair["labels"])
    return {
        **image,
        "key": key,
        "source": page["source"],
        "image_ext": "jpg",
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
