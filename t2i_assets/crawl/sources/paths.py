"""From the paths of a configuration to files: globs and brace ranges, in a fixed order."""

import glob
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from t2i_assets.crawl.sources.rows import SourceError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_FILES = 1_000_000


def is_web(path: str) -> bool:
    """Return whether a path is an http or https URL."""
    return path.lower().startswith(("http://", "https://"))


def expand(patterns: Iterable[str]) -> list[Path]:
    """Return the absolute paths of the files, in the order of the patterns and sorted within each; none twice.

    ``data/{000..012}.tar`` counts up as webdataset does it, ``*`` and ``**`` match as a shell does.
    Raises SourceError where a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        for text in _ranges(pattern):
            path = Path(text).expanduser()
            matches = (
                [path] if path.exists() else [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            )
            if not matches:
                raise SourceError(f"there is no file {text!r}")
            found.update({match.resolve(): None for match in matches if not match.is_dir()})
    return list(found)


def _ranges(pattern: str) -> Iterator[str]:
    """Yield the texts that brace ranges stand for; leading zeros give the width."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    first, last = match[1], match[2]
    if int(last) - int(first) >= _MOST_FILES or int(last) < int(first):
        raise SourceError(f"{pattern!r}: the range {match[0]} is empty or above {_MOST_FILES} files")
    for number in range(int(first), int(last) + 1):
        middle = str(number).zfill(len(first))
        yield from _ranges(f"{pattern[: match.start()]}{middle}{pattern[match.end() :]}")
