"""The human-annotated set: a COCO-style JSON of captions, fetched with its images and stored as shards.

``annotations`` carry ``image_id``, ``caption`` and ``style`` (short or descriptive; absent means descriptive).
"""

import asyncio
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from yarl import URL

from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import CAPTIONS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.snapshots import HUMAN
from t2i_assets.corpus.tables import write_table
from t2i_assets.crawl.config import CrawlConfig, Progress, silent
from t2i_assets.crawl.consent.robots import Robots
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Fetched, Fetcher
from t2i_assets.crawl.http.guard import normalise_url
from t2i_assets.crawl.image_stage.acquire import Acquirer, measured
from t2i_assets.crawl.images import StoredImage
from t2i_assets.crawl.ledger import count_statuses, raise_if_all_failed, write_ledger
from t2i_assets.crawl.status import CrawlFailedError, Status
from t2i_assets.crawl.texts import clean

SOURCE = "human"
NAMED = Verdict(True, "allowed", "the data set's address was given in the configuration")
STYLES = ("short", "descriptive")
_MAX_JSON_BYTES = 2_000_000_000


def fetch_human(captions_url: str, config: CrawlConfig, out_dir: Path, progress: Progress = silent) -> dict[str, Any]:
    """Fetch the captions and their images; write shards, ``captions.parquet`` (CAPTIONS) and ``ledger.parquet``.

    The data set is downloaded, not crawled: robots.txt is asked for images on other hosts only.
    Images that cannot be had lose their captions, each with a ledger row.
    Raises CrawlFailedError where the JSON cannot be fetched or read, or no image of it can.
    """
    return asyncio.run(_fetch(captions_url, config, out_dir, progress))


async def _fetch(captions_url: str, config: CrawlConfig, out_dir: Path, progress: Progress) -> dict[str, Any]:
    ledger = []
    found: dict[str, tuple[StoredImage, Fetched, list[tuple[str, str]]]] = {}
    counts: Counter[str] = Counter()
    async with Fetcher(config) as fetcher:
        robots = Robots(fetcher, config, HUMAN)
        home = URL(captions_url).origin()

        async def permit(url: str) -> Verdict:
            # robots.txt speaks to crawlers that find their way; this address was given by a person.
            return NAMED if URL(url).origin() == home else await robots.verdict(url)

        async with Acquirer(config, fetcher, permit) as acquirer:
            answer = await fetcher.fetch(captions_url, "application/json", _MAX_JSON_BYTES, permit)
            if answer.status != Status.OK:
                raise CrawlFailedError(f"human captions {captions_url}: {answer.status}: {answer.detail}")
            captions_of_url = read_coco(answer.body, answer.final_url)
            todo = iter(captions_of_url.items())

            async def work() -> None:
                for url, captions in todo:
                    fetched = await acquirer.fetch(url)
                    image = await acquirer.store(fetched)
                    more = {"sha256": image.original_sha256, "key": image.key} if image else {}
                    ledger.append(fetched.ledger_row(HUMAN, "image", SOURCE, parent_url=captions_url, **more))
                    counts[str(fetched.status)] += 1
                    if image:
                        found.setdefault(image.key, (image, fetched, []))[2].extend(captions)
                    progress(len(ledger), len(captions_of_url), counts)

            async with asyncio.TaskGroup() as group:
                for _ in range(min(2 * config.fetch.concurrency, len(captions_of_url))):
                    group.create_task(work())
    raise_if_all_failed("human-annotated image", ledger, enough=1)
    captions = _write(found, config, out_dir)
    write_ledger(out_dir / "ledger.parquet", ledger + robots.ledger_rows)
    return {"images": len(found), "captions": captions, "image_statuses": count_statuses(ledger)}


def read_coco(body: bytes, url: str) -> dict[str, list[tuple[str, str]]]:
    """Return (caption, style) pairs by image URL, in the order of the file.

    An image's address is its ``coco_url``, ``url`` or ``file_name``, resolved against the JSON's own.
    Raises CrawlFailedError where the JSON is not of COCO's form.
    """
    try:
        document = json.loads(body)
        captions_of_id: dict[Any, list[tuple[str, str]]] = defaultdict(list)
        for annotation in document["annotations"]:
            style = annotation.get("style", "descriptive")
            if style not in STYLES:
                raise ValueError(f"style {style!r} of annotation {annotation.get('id')} is not one of {STYLES}")
            captions_of_id[annotation["image_id"]].append((clean(annotation["caption"]), style))
        found: dict[str, list[tuple[str, str]]] = {}
        for image in document["images"]:
            address = image.get("coco_url") or image.get("url") or image["file_name"]
            found.setdefault(normalise_url(address, URL(url)), []).extend(captions_of_id[image["id"]])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CrawlFailedError(f"human captions {url} are not COCO captions: {error!r}") from error
    return {address: captions for address, captions in found.items() if captions}


def _write(
    found: dict[str, tuple[StoredImage, Fetched, list[tuple[str, str]]]], config: CrawlConfig, out_dir: Path
) -> int:
    captions = []
    for left_over in out_dir.glob("[0-9]*.*"):
        left_over.unlink()
    with ShardWriter(out_dir, HUMAN, config.images.samples_per_shard) as writer:
        for key, (image, fetched, texts) in sorted(found.items()):
            texts = sorted(set(texts), key=lambda pair: (pair[1] != "descriptive", pair[0]))
            writer.write(_sample(image, fetched, texts), image.data, texts[0][0])
            for text, style in texts:
                row = {"caption_id": caption_id(key, "human", text), "key": key, "source": "human", "caption": text}
                captions.append(row | {"decode": json.dumps({"style": style})})
    write_table(out_dir / "captions.parquet", captions, CAPTIONS)
    return len(captions)


def _sample(image: StoredImage, fetched: Fetched, texts: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        **measured(image),
        "key": image.key,
        "source": SOURCE,
        "image_url": fetched.url,
        "page_url": None,
        "license_url": None,
        "consent": f"{fetched.verdict.rule}: {fetched.verdict.evidence}",
        "alt_text": texts[0][0],
        "texts": [{"text": text, "field": f"human_{style}", "page_url": None, "labels": []} for text, style in texts],
    }
