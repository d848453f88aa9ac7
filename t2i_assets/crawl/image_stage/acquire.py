"""One image URL in; its outcome, and the image as it will be stored, out."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import fields
from types import TracebackType
from typing import Any, Self

from multidict import CIMultiDict, CIMultiDictProxy

from t2i_assets.corpus.suppression import NOTHING_PURGED, Suppression
from t2i_assets.crawl.config import CrawlConfig, FolderSource, WebDatasetSource
from t2i_assets.crawl.consent.suppressed import refusal, refusing
from t2i_assets.crawl.consent.verdict import Verdict, response_verdict
from t2i_assets.crawl.http.fetch import ACCEPT_IMAGE, Fetched, Fetcher, Permit, Validators
from t2i_assets.crawl.image_stage.decoder import decode
from t2i_assets.crawl.images import StoredImage
from t2i_assets.crawl.recrawl import EarlierImages
from t2i_assets.crawl.sources.local import LocalImageError, read_local
from t2i_assets.crawl.status import CrawlFailedError, Status
from t2i_assets.crawl.workers import WorkerFailedError, Workers

LOCAL = Verdict(True, "allowed", "a local source that the configuration names")
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream")
_STATUS_OF_FAILURE = {"died": Status.DECODE_FAILED, "memory": Status.BOMB, "timeout": Status.BOMB}
_DECODE_SECONDS = 30.0
_ENOUGH_TO_JUDGE = 200


class Acquirer:
    """Fetches, checks and decodes images. Use as an async context manager."""

    def __init__(
        self,
        config: CrawlConfig,
        fetcher: Fetcher,
        permit: Permit,
        earlier: EarlierImages | None = None,
        suppression: Suppression = NOTHING_PURGED,
    ) -> None:
        self._config = config
        self._fetcher = fetcher
        self._permit = refusing(permit, suppression)
        self._suppression = suppression
        self._earlier = earlier
        self._decode = Workers(decode, config.images.workers, constants=(config.images,), seconds=_DECODE_SECONDS)
        self._stack = AsyncExitStack()
        self._decoder_works = False
        self._undecoded = 0

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._decode)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def fetch(self, url: str) -> Fetched:
        """Ask for an image; what the headers forbid or what is no image is not ``ok``, whatever was sent.

        One that an earlier snapshot has is asked for only if it changed, and is ``unchanged`` where it did not.
        """
        validators = self._earlier.validators_of(url) if self._earlier else None
        fetched = await self._ask(url, validators)
        if fetched.status == Status.UNCHANGED and not self._is_as_before(fetched):
            fetched = await self._ask(url, None)
        elif fetched.status == Status.UNCHANGED and validators is not None:
            fetched.headers = _completed(fetched.headers, validators)
        if fetched.status not in (Status.OK, Status.UNCHANGED):
            return fetched
        verdict = response_verdict(fetched.headers, self._config.product)
        if not verdict.allowed:
            fetched.status, fetched.detail, fetched.verdict = Status.CONSENT_DENIED, verdict.evidence, verdict
        elif fetched.status == Status.OK and not _may_be_image(fetched.media_type):
            fetched.status = Status.WRONG_CONTENT_TYPE
            fetched.detail = f"Content-Type {fetched.content_type!r} is not an image"
        return fetched

    def _learn(self, fetched: Fetched) -> None:
        """Stop where nothing can be decoded at all: then the decoder is at fault, not the images."""
        if self._decoder_works or fetched.status != Status.DECODE_FAILED:
            return
        self._undecoded += 1
        if self._undecoded >= _ENOUGH_TO_JUDGE:
            raise CrawlFailedError(
                f"not one of the first {self._undecoded} images could be decoded; "
                f"the last was {fetched.url}: {fetched.detail}"
            )

    async def _ask(self, url: str, validators: Validators | None) -> Fetched:
        limit = self._config.fetch.max_image_bytes
        return await self._fetcher.fetch(url, ACCEPT_IMAGE, limit, self._permit, validators)

    def _is_as_before(self, fetched: Fetched) -> bool:
        """Whether what did not change is what the earlier snapshot holds: the same address, in a whole shard."""
        outcome = self._earlier.outcome(fetched.url) if self._earlier else None
        same = outcome is not None and outcome["final_url"] == fetched.final_url
        return same and self._earlier_image(fetched.url) is not None

    def _earlier_image(self, url: str) -> StoredImage | None:
        outcome = self._earlier.outcome(url) if self._earlier else None
        found = self._earlier.image(outcome["key"]) if self._earlier and outcome else None
        if found is None:
            return None
        data, row = found
        measures = {field.name: row[field.name] for field in fields(StoredImage) if field.name != "data"}
        return StoredImage(data=data, **measures)

    async def read(self, url: str, source: FolderSource | WebDatasetSource) -> Fetched:
        """Open an image of a local source."""
        fetched = Fetched(url, url, verdict=LOCAL, started=0.0)
        rule = self._suppression.rule(url=url)
        if rule:
            fetched.verdict = refusal(rule)
            fetched.status, fetched.detail = fetched.verdict.status, fetched.verdict.evidence
            return fetched
        try:
            fetched.body = await asyncio.to_thread(read_local, url, source, self._config.fetch.max_image_bytes)
        except LocalImageError as error:
            fetched.status, fetched.detail = error.status, str(error)
        return fetched

    async def store(self, fetched: Fetched, keep_bytes: bool = False) -> StoredImage | None:
        """Return the image of what was fetched, as it will be stored, or None; then the outcome's status says why.

        ``keep_bytes`` stores the bytes as they came, if they decode.
        """
        if fetched.status == Status.UNCHANGED:
            return self._earlier_image(fetched.url)
        if fetched.status != Status.OK:
            return None
        try:
            image = await self._decode(fetched.body, keep_bytes)
        except WorkerFailedError as error:
            fetched.status, fetched.detail = _STATUS_OF_FAILURE[error.kind], f"decoding: {error}"
            return None
        if not isinstance(image, StoredImage):
            fetched.status, fetched.detail = image
            self._learn(fetched)
            return None
        self._decoder_works = True
        rule = self._suppression.rule(key=image.key)
        if rule:
            fetched.verdict = refusal(rule)
            fetched.status, fetched.detail = fetched.verdict.status, fetched.verdict.evidence
            return None
        return image


def outcome_row(fetched: Fetched, image: StoredImage | None, pair: dict[str, Any], snapshot: str) -> dict[str, Any]:
    """Return the ledger row of one image URL; ``pair`` is the first that speaks of it."""
    return fetched.ledger_row(
        snapshot,
        "image",
        pair["source"],
        parent_url=pair["page_url"],
        license_url=pair["license_url"],
        sha256=image.original_sha256 if image else None,
        key=image.key if image else None,
    )


def measured(image: StoredImage) -> dict[str, Any]:
    """Return what SAMPLES tells of an image itself."""
    return {name: value for name, value in vars(image).items() if name != "data"}


def _completed(headers: CIMultiDictProxy[str], validators: Validators) -> CIMultiDictProxy[str]:
    """Return the headers of a 304 with the validators it was asked with, for the snapshot after this one."""
    known = CIMultiDict(headers)
    for name, value in (("ETag", validators.etag), ("Last-Modified", validators.last_modified)):
        if value is not None:
            known.setdefault(name, value)
    return CIMultiDictProxy(known)


def _may_be_image(media_type: str) -> bool:
    return media_type.startswith("image/") or media_type in _UNTYPED
