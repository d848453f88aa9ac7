"""Third stage: fetch the images of the pairs, store each once, and write them as shards in order of their keys.

Order comes from content, never from the network: the same images give the same bytes, whether the run was killed
and resumed or not. What is known lies on disk, so ten million images need no more memory than ten thousand.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any

from t2i_assets.corpus.digests import digest, tree_digest
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.suppression import NOTHING_PURGED, Suppression
from t2i_assets.crawl.config import CrawlConfig, FolderSource, Progress, WebDatasetSource, silent
from t2i_assets.crawl.consent.robots import Robots
from t2i_assets.crawl.http.fetch import Fetcher
from t2i_assets.crawl.http.outage import OutageWatch
from t2i_assets.crawl.image_stage.acquire import Acquirer, measured, outcome_row
from t2i_assets.crawl.image_stage.offers import Offers
from t2i_assets.crawl.image_stage.refusals import take_in
from t2i_assets.crawl.image_stage.samples import sample_row
from t2i_assets.crawl.journal import JOURNAL, Journal, finished, first_leaf
from t2i_assets.crawl.ledger import raise_if_all_failed, write_ledger
from t2i_assets.crawl.recrawl import EarlierImages, Previous
from t2i_assets.crawl.status import CrawlFailedError, Status
from t2i_assets.crawl.turns import Turns

_ENOUGH_TO_JUDGE = 20
_WAITING_PER_REQUEST = 2
_FILES_AT_ONCE = 16


def fetch_images(
    pairs_dir: Path,
    config: CrawlConfig,
    snapshot: str,
    out_shards_dir: Path,
    out_ledger_file: Path,
    progress: Progress = silent,
    previous: Previous | None = None,
    suppression: Suppression = NOTHING_PURGED,
) -> dict[str, Any]:
    """Fetch every image that a pair asks for; write shards, sidecars and one ledger row per image URL.

    What was fetched is journalled in ``out_shards_dir``: a run that was killed goes on where it stopped. Images that
    ``previous`` has are asked for only if they changed; what ``suppression`` names is not asked for.
    Returns the funnel. Raises CrawlFailedError where many images were tried and not one was fetched.
    """
    purpose = digest([snapshot, config.identity("images"), tree_digest(pairs_dir)])
    place = out_shards_dir / JOURNAL
    done = finished(place, purpose)
    if done is not None:
        return done
    with Journal(place, purpose) as journal:
        offers = Offers(journal.database)
        if not offers.filled:
            take_in(offers, pairs_dir, journal, snapshot)
        wanted = offers.wanted()
        try:
            with _earlier_images(previous, config, place) as earlier:
                _run(_fetch_all(offers, journal, earlier, suppression, config, snapshot, progress))
            if wanted >= _ENOUGH_TO_JUDGE and not {Status.OK, Status.UNCHANGED} & set(offers.statuses()):
                raise_if_all_failed("image", list(journal.rows("image")), _ENOUGH_TO_JUDGE)
        except CrawlFailedError:
            journal.remove()  # failures of a dead network are nothing to go on with
            raise
        journal.commit()
        figures = _write_shards(journal, offers, snapshot, config, out_shards_dir)
        write_ledger(out_ledger_file, journal.rows(), in_order=True)
        statuses = journal.statuses("image")
        summary = {
            "image_urls": sum(statuses.values()),
            "image_urls_tried": wanted,
            "images_fetched": statuses.get(Status.OK, 0),
            "images_unchanged": statuses.get(Status.UNCHANGED, 0),
            **figures,
            "image_statuses": statuses,
        }
        journal.finish(summary)
    return summary


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, or raise the failure that began it instead of the group it comes in."""
    try:
        asyncio.run(work)
    except BaseExceptionGroup as group:
        raise first_leaf(group) from group


def _earlier_images(
    previous: Previous | None, config: CrawlConfig, scratch: Path
) -> AbstractContextManager[EarlierImages | None]:
    return nullcontext() if previous is None else EarlierImages(previous, config.images, scratch)


async def _fetch_all(
    offers: Offers,
    journal: Journal,
    earlier: EarlierImages | None,
    suppression: Suppression,
    config: CrawlConfig,
    snapshot: str,
    progress: Progress,
) -> None:
    """Fetch what the journal does not hold yet."""
    wanted = offers.wanted()
    counts = Counter(offers.statuses())
    sources = {source.name: source for source in config.sources}
    watch = OutageWatch("image")

    def room(url: str) -> int:
        return _FILES_AT_ONCE if url.startswith("file:") else fetcher.room(url)

    async def work() -> None:
        while (url := await turns.take()) is not None:
            pair = next(pair for pair in offers.pairs(url) if pair["rejected"] is None)
            source = sources[pair["source"]]
            try:
                if isinstance(source, FolderSource | WebDatasetSource):
                    fetched = await acquirer.read(url, source)
                else:
                    fetched = await acquirer.fetch(url)
                    watch.see(url, fetched.status, fetched.detail)
            finally:
                turns.give_back(url)
            image = await acquirer.store(fetched, keep_bytes=isinstance(source, WebDatasetSource))
            while robots.ledger_rows:
                journal.add(robots.ledger_rows.pop())
            row = outcome_row(fetched, image, pair, snapshot)
            if image is None:
                journal.add(row)
            else:
                journal.add(row, image.data, image.key, measured(image))
            counts[row["status"]] += 1
            progress(counts.total(), wanted, counts)

    async with AsyncExitStack() as stack:
        fetcher = await stack.enter_async_context(Fetcher(config))
        turns = Turns(offers.todo(), room)
        robots = Robots(fetcher, config, snapshot)
        acquirer = await stack.enter_async_context(Acquirer(config, fetcher, robots.verdict, earlier, suppression))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_WAITING_PER_REQUEST * config.fetch.concurrency, wanted)):
                group.create_task(work())
    for row in robots.ledger_rows:
        journal.add(row)


def _write_shards(
    journal: Journal, offers: Offers, snapshot: str, config: CrawlConfig, directory: Path
) -> dict[str, Any]:
    """Write one sample per key, in order of key, with the texts of every URL and page that showed it."""
    for left_over in directory.glob("*.*"):
        if left_over.stem.isdigit() or left_over.suffix == ".tmp":
            left_over.unlink()
    formats: Counter[str] = Counter()
    with ShardWriter(directory, snapshot, config.images.samples_per_shard) as writer:
        for key in journal.blob_names():
            data, image = journal.blob(key)
            rows = journal.rows_of_blob(key)
            pairs = [pair for row in rows for pair in offers.pairs(row["url"]) if pair["rejected"] is None]
            sample = sample_row(key, image, rows[0], pairs)
            writer.write(sample, data, sample["alt_text"], {"image_urls": [row["url"] for row in rows]})
            formats[image["original_format"]] += 1
    return {"samples": formats.total(), "original_formats": dict(formats.most_common())}
