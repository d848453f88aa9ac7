"""What stands for local files in a digest: so that a run notices that they changed."""

import os
from collections.abc import Iterator
from pathlib import Path

from t2i_assets.corpus.digests import digest
from t2i_assets.crawl.config import CrawlConfig, FolderSource, Source, UrlListSource, WarcSource, WebDatasetSource
from t2i_assets.crawl.sources.paths import expand, is_web


def local_state(config: CrawlConfig) -> str | None:
    """Return a digest of path, size and time of change of every file that a source reads; None where none reads one.

    Raises SourceError where a file is not there.
    """
    files = [file for source in config.sources for file in _files(source)]
    return digest(sorted(map(_state, files))) if files else None


def _files(source: Source) -> Iterator[Path]:
    match source:
        case UrlListSource() | WebDatasetSource():
            yield from expand(source.paths)
        case WarcSource():
            yield from expand(path for path in source.paths if not is_web(path))
        case FolderSource():
            for directory, _, names in os.walk(Path(source.path).expanduser().resolve()):
                yield from (Path(directory, name) for name in names)
            if source.captions is not None:
                yield from expand([source.captions])


def _state(path: Path) -> tuple[str, int, int]:
    state = path.lstat()
    return str(path), state.st_size, state.st_mtime_ns
