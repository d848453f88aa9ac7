"""Where the crawl goes: the configured site, or the embedded one, served on loopback while it is needed."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t2i_assets.config import Settings
from t2i_assets.crawl.config import CrawlConfig, SiteSource, Source
from t2i_assets.synthweb.server import running


@contextmanager
def serving(settings: Settings, crawl: CrawlConfig) -> Iterator[CrawlConfig]:
    """Yield the crawl configuration with the embedded site reachable: the embedded site is served meanwhile.

    Its port is fixed, so that a sample's URL stays the same; who comes second waits.
    Raises RuntimeError where something else listens there.
    """
    if settings.site is None:
        yield crawl
        return
    with _alone(settings.site_port), running(settings.site, port=settings.site_port) as base:
        loopback = [*crawl.allow_loopback, base.removeprefix("http://")]
        sources = [_started(source, f"{base}/") for source in crawl.sources]
        yield crawl.model_copy(update={"sources": sources, "allow_loopback": loopback})


def _started(source: Source, first_page: str) -> Source:
    """Return the source, a site without start URLs as the embedded one."""
    if isinstance(source, SiteSource) and not source.start_urls:
        return source.model_copy(update={"start_urls": [first_page]})
    return source


@contextmanager
def _alone(port: int) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / f"t2i-embedded-site-{port}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
