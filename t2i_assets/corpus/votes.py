"""Votes on disk: a file each, of which a failing disk may have cut one short."""

import logging
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import VOTES
from t2i_assets.corpus.tables import read_rows

GLOB = "[!.]*/[!.]*.parquet"

log = logging.getLogger(__name__)


def read_votes(home: Home) -> list[dict[str, Any]]:
    """Return every vote of every voter, as rows of VOTES."""
    set_broken_aside(home)
    return [row for path in sorted(home.votes.glob(GLOB)) for row in read_rows(path, VOTES)]


def set_broken_aside(home: Home) -> None:
    """Give files that are no votes a hidden name, with a warning: one would stop every query over the others.

    Another process may be doing the same: what is gone by now was set aside there.
    """
    for path in sorted(home.votes.glob(GLOB)):
        aside = path.with_name(f".{path.name}.broken")
        with suppress(FileNotFoundError):
            try:
                pq.read_metadata(path)
            except pa.ArrowInvalid as error:
                path.rename(aside)
                log.warning("%s is no vote (%s): set aside as %s, its ballot is asked again", path, error, aside.name)
