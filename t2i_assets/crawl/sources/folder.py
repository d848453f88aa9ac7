"""Images of a directory, with their texts beside them or in one COCO captions file."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2i_assets.crawl.config import FolderSource
from t2i_assets.crawl.html.page import Text
from t2i_assets.crawl.sources.local import file_url
from t2i_assets.crawl.sources.rows import Offer, SourceError, web_link
from t2i_assets.crawl.sources.sidecars import (
    MOST_BYTES,
    UnreadableTextError,
    as_texts,
    distinct,
    texts_of_json,
    texts_of_txt,
)

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

_FIELD = "folder"


def folder_offers(source: FolderSource) -> Iterator[Offer]:
    """Yield one offer per image, in order of path, with its texts.

    Hidden files and links to directories are passed over.
    Raises SourceError where the directory is not there or the captions file is not of COCO's form.
    """
    root = Path(source.path).expanduser().resolve()
    if not root.is_dir():
        raise SourceError(f"{source.path} is not a directory")
    if source.captions is None:
        yield from _walk_offers(root, source, lambda path: _beside(path, source))
        return
    captions = _Coco(Path(source.captions).expanduser().resolve(), root)
    yield from _walk_offers(root, source, captions.take)
    yield from captions.left_over()


_Found = tuple[list[Text], bool, str | None]
"""Texts of an image, whether some could not be read, and the licence."""


def _walk_offers(root: Path, source: FolderSource, find: Callable[[Path], _Found]) -> Iterator[Offer]:
    for position, path in enumerate(_images(root)):
        offer = Offer(file_url(path), _FIELD, file_url(root), position, license_url=web_link(source.license_url))
        if not path.resolve().is_relative_to(root):
            yield replace(offer, problem="outside_source")
            continue
        texts, broken, license_url = find(path)
        offer = replace(offer, texts=distinct(texts), license_url=license_url or offer.license_url)
        if offer.texts or not broken:
            yield offer
        if broken:
            yield replace(offer, texts=(), problem="bad_text")


def _images(directory: Path) -> Iterator[Path]:
    """Yield the image files of a directory and those below it, in order of name."""
    with os.scandir(directory) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _images(Path(entry.path))
        elif entry.name.lower().endswith(IMAGE_EXTENSIONS) and not entry.is_dir():
            yield Path(entry.path)


def _beside(path: Path, source: FolderSource) -> _Found:
    """Return the texts of ``name.txt`` and ``name.json``."""
    texts: list[Text] = []
    broken = False
    for suffix in (".txt", ".json"):
        try:
            body = _read(path.with_suffix(suffix), path.parent)
            if body is not None:
                texts += texts_of_txt(body, "txt") if suffix == ".txt" else texts_of_json(body, source.text_fields)[0]
        except UnreadableTextError:
            broken = True
    return texts, broken, None


def _read(path: Path, directory: Path) -> bytes | None:
    """Return a file of texts, or None where there is none."""
    if not path.is_file() or path.resolve().parent != directory.resolve():
        return None
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnreadableTextError(f"{path} is larger than {MOST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableTextError(f"{path}: {error}") from error


class _Coco:
    """Captions of a COCO JSON by image path; what is taken is crossed off, the rest names images that are not there."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path = path
        self._root = root
        try:
            document = json.loads(path.read_bytes())
            self._texts: dict[Any, list[Any]] = defaultdict(list)
            for annotation in document["annotations"]:
                self._texts[annotation["image_id"]].append(annotation["caption"])
            licenses = {one["id"]: web_link(one.get("url")) for one in document.get("licenses", [])}
            self._images: dict[str, list[tuple[Any, str | None]]] = defaultdict(list)
            for image in document["images"]:
                file = os.path.normpath(root / image["file_name"])
                self._images[file].append((image["id"], licenses.get(image.get("license"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceError(f"{path} is not a COCO captions file: {error!r}") from error

    def take(self, path: Path) -> _Found:
        texts: list[Text] = []
        broken = False
        license_url = None
        for number, license_of in self._images.pop(str(path), []):
            license_url = license_url or license_of
            for caption in self._texts.pop(number, []):
                try:
                    texts += [Text(text, "caption") for text in as_texts(caption)]
                except UnreadableTextError:
                    broken = True
        return texts, broken, license_url

    def left_over(self) -> Iterator[Offer]:
        """Yield a rejected offer for each image that was not met, and for each unlisted image that has captions."""
        position = 0
        for file, images in self._images.items():
            inside = Path(file).is_relative_to(self._root)
            for number, _ in images:
                self._texts.pop(number, None)
            problem = "no_image" if inside else "outside_source"
            yield Offer(file_url(Path(file)), _FIELD, file_url(self._path), position, problem=problem)
            position += 1
        for number in self._texts:
            url = file_url(self._path, f"image_id={number}")
            yield Offer(url, _FIELD, file_url(self._path), position, problem="no_image")
            position += 1
