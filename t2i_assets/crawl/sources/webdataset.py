"""Existing WebDataset tars: a sample is a run of members of one name, its image stays where it lies."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from t2i_assets.crawl.config import WebDatasetSource
from t2i_assets.crawl.html.page import Text
from t2i_assets.crawl.sources.local import file_url
from t2i_assets.crawl.sources.paths import expand
from t2i_assets.crawl.sources.rows import BAD_ARCHIVE, Offer, SourceError, web_link
from t2i_assets.crawl.sources.sidecars import MOST_BYTES, UnreadableTextError, distinct, texts_of_json, texts_of_txt
from t2i_assets.crawl.sources.tars import Member, members

_FIELD = "webdataset"
_NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]*)", re.DOTALL)
_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst")

_Sample = dict[str, Member]
"""Members by extension, the first of each."""


def webdataset_offers(source: WebDatasetSource) -> Iterator[Offer]:
    """Yield one offer per sample, a rejected one where image or text is missing, and one for a tar that breaks off.

    Raises SourceError where a tar is not there or compressed: members of a compressed tar cannot be found by seeking.
    """
    paths = expand(source.paths)
    for path in paths:
        if path.name.lower().endswith(_COMPRESSED):
            raise SourceError(f"{path} is compressed: unpack it to a plain .tar first")
    for path in paths:
        yield from _tar_offers(path, source)


def _tar_offers(path: Path, source: WebDatasetSource) -> Iterator[Offer]:
    seen: set[str] = set()
    position = 0
    try:
        with path.open("rb") as file:
            for key, sample in _samples(path):
                for offer in _sample_offers(key, sample, position, path, file, source):
                    # a member is found by its name: the second of a name would get the image of the first
                    yield replace(offer, problem=offer.problem or "duplicate_url") if key in seen else offer
                seen.add(key)
                position += 1
    except (tarfile.TarError, OSError):
        yield Offer(file_url(path), _FIELD, file_url(path), position, problem=BAD_ARCHIVE)


def _samples(path: Path) -> Iterator[tuple[str, _Sample]]:
    """Yield key and members of each sample; where the tar breaks off, first what is there of the last one.

    Raises tarfile.ReadError then.
    """
    key = ""
    sample: _Sample = {}
    try:
        for member in members(path):
            begun, extension = _split(member.name)
            if sample and begun != key:
                yield key, sample
                sample = {}
            key = begun
            sample.setdefault(extension, member)
    except tarfile.ReadError:
        if sample:
            yield key, sample
        raise
    if sample:
        yield key, sample


def _split(name: str) -> tuple[str, str]:
    """Return key and extension (lower case) as webdataset does: the extension starts at the first dot of the name."""
    match = _NAME.fullmatch(name)
    return (match[1], match[2].lower()) if match else (name, "")


def _sample_offers(
    key: str, sample: _Sample, position: int, path: Path, file: BinaryIO, source: WebDatasetSource
) -> Iterator[Offer]:
    texts: list[Text] = []
    page_url = license_url = None
    broken = False
    for extension in (*source.text_extensions, "json"):
        if extension not in sample:
            continue
        try:
            body = _read(file, sample[extension])
            if extension != "json":
                texts += texts_of_txt(body, extension)
                continue
            found, document = texts_of_json(body, source.json_fields)
            texts += found
            page_url, license_url = (web_link(document.get(name)) for name in (source.url_field, source.license_field))
        except UnreadableTextError:
            broken = True
    image = next((sample[one] for one in source.image_extensions if one in sample), None)
    url = file_url(path, image.name if image else key)
    offer = Offer(url, _FIELD, page_url or file_url(path), position, distinct(texts), license_url=license_url)
    if image is None:
        yield replace(offer, problem="no_image")
        return
    if offer.texts or not broken:
        yield offer
    if broken:
        yield replace(offer, texts=(), problem="bad_text")


def _read(file: BinaryIO, member: Member) -> bytes:
    if member.size > MOST_BYTES:
        raise UnreadableTextError(f"{member.name} is larger than {MOST_BYTES} bytes")
    file.seek(member.offset)
    return file.read(member.size)
