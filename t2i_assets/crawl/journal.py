"""What a run of the image stage has already done, kept on disk as it goes, so that a killed run loses nothing.

``images.bin`` holds the stored images one after the other, ``rows.jsonl`` one line per URL. An image is written before
the line that speaks of it, so whatever the moment of death, every whole line is true.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from t2i_assets.crawl.images import StoredImage


class Journal:
    """Append-only outcomes by URL. One that belongs to other work (another ``purpose``) is begun afresh."""

    def __init__(self, directory: Path, purpose: str) -> None:
        self._directory = directory
        self._purpose = purpose
        self._places: dict[str, tuple[int, int]] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        lines_file, images_file = self._directory / "rows.jsonl", self._directory / "images.bin"
        kept = self._load(lines_file, images_file)
        self._lines = lines_file.open("r+b" if kept else "wb")
        self._images = images_file.open("r+b" if kept else "w+b")
        if kept:
            self._lines.truncate(kept)
            self._lines.seek(kept)
        else:
            self._write_line({"purpose": self._purpose})
        self._end = max((offset + size for offset, size in self._places.values()), default=0)
        self._images.truncate(self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._images.close()

    def add(self, row: dict[str, Any], image: StoredImage | None = None) -> None:
        """Write one URL's ledger row and, where it gave one, its image; equal images are kept once."""
        line: dict[str, Any] = {"row": row}
        if image is not None and image.key not in self.images:
            self._images.seek(self._end)
            self._images.write(image.data)
            self._images.flush()
            about = {name: value for name, value in vars(image).items() if name != "data"}
            line |= {"key": image.key, "image": about, "offset": self._end, "size": len(image.data)}
            self._end += len(image.data)
        self._write_line(line)
        self._take(line)

    def read_image(self, key: str) -> bytes:
        """Return the stored image of a key."""
        offset, size = self._places[key]
        self._images.seek(offset)
        return self._images.read(size)

    def remove(self) -> None:
        """Delete the journal: what it held was published."""
        self._lines.close()
        self._images.close()
        for path in self._directory.iterdir():
            path.unlink()
        self._directory.rmdir()

    def _write_line(self, line: dict[str, Any]) -> None:
        self._lines.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._lines.flush()

    def _load(self, lines_file: Path, images_file: Path) -> int:
        """Take in what an earlier run wrote; return the bytes of whole lines, 0 where nothing can be kept."""
        if not lines_file.exists() or not images_file.exists():
            return 0
        kept = 0
        available = images_file.stat().st_size
        with lines_file.open("rb") as file:
            for number, text in enumerate(file):
                if not text.endswith(b"\n"):
                    break
                try:
                    line = json.loads(text)
                except ValueError:
                    break
                if number == 0 and line.get("purpose") != self._purpose:
                    return 0
                if line.get("offset", 0) + line.get("size", 0) > available:
                    break
                if number:
                    self._take(line)
                kept += len(text)
        return kept

    def _take(self, line: dict[str, Any]) -> None:
        self.rows[line["row"]["url"]] = line["row"]
        if "key" in line:
            self.images[line["key"]] = line["image"]
            self._places[line["key"]] = (line["offset"], line["size"])
