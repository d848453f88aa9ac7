"""What the crawl can be told: one model per stage, each field described."""

from collections.abc import Callable, Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from yarl import URL

Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called now and then with (URLs done, URLs known, URLs by status)."""


def silent(done: int, total: int, counts: Mapping[str, int]) -> None:
    """Report no progress."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FetchConfig(_Section):
    """How requests are made."""

    concurrency: int = Field(default=64, ge=1, description="Requests in flight over all hosts.")
    per_host_concurrency: int = Field(default=8, ge=1, description="Requests in flight to one host and port.")
    connect_seconds: float = Field(default=5.0, gt=0, description="Limit for resolving and connecting.")
    total_seconds: float = Field(
        default=10.0, gt=0, description="Deadline of one URL: its requests together, bodies included, waits left out."
    )
    retries: int = Field(default=2, ge=0, description="Further tries after 429, 5xx, a timeout or a broken connection.")
    backoff_seconds: float = Field(default=0.5, gt=0, description="First wait before a retry; doubles each time.")
    max_wait_seconds: float = Field(default=30.0, ge=0, description="Longest wait that Retry-After may ask for.")
    max_crawl_delay: float = Field(default=10.0, ge=0, description="A host that asks for a longer delay is left alone.")
    redirects: int = Field(default=5, ge=0, description="Redirects followed for one URL, each hop checked anew.")
    max_page_bytes: int = Field(default=10_000_000, gt=0, description="Cap on one page, content-encoding removed.")
    max_image_bytes: int = Field(default=30_000_000, gt=0, description="Cap on one image.")
    max_robots_bytes: int = Field(
        default=512_000, gt=0, description="Bytes of robots.txt that are read (RFC 9309, 2.5)."
    )
    dns_ttl_seconds: float = Field(default=300.0, ge=0, description="How long a resolved name is kept.")


class TextConfig(_Section):
    """Thresholds of the hygiene labels; a label deletes nothing."""

    min_words: int = Field(default=2, ge=0, description="Fewer words: too_short.")
    min_characters: int = Field(default=5, ge=0, description="Fewer characters: too_short.")
    max_characters: int = Field(default=1000, gt=0, description="More characters: too_long.")
    english_ratio: float = Field(
        default=20.0, gt=1, description="not_english where another language is this many times as likely as English."
    )


class ImageConfig(_Section):
    """Which images are taken and what is stored of them."""

    min_bytes: int = Field(default=200, ge=0, description="Smaller bodies are too_small.")
    min_side: int = Field(default=64, gt=0, description="A shorter side below this many pixels is too_small.")
    max_pixels: int = Field(
        default=64_000_000, gt=0, description="More pixels than this are a bomb, refused undecoded."
    )
    max_aspect: float = Field(
        default=3.0, ge=1, description="A longer side above this many shorter sides is bad_aspect."
    )
    size: int = Field(default=64, gt=0, description="Stored shorter side in pixels; both sides for center_crop.")
    resize: Literal["center_crop", "keep_ratio", "no"] = Field(default="center_crop", description="What resizing does.")
    jpeg_quality: int = Field(default=95, ge=1, le=100, description="Quality of the stored JPEG.")
    jpeg_subsampling: Literal["444", "422", "420"] = Field(default="444", description="Chroma of the stored JPEG.")
    workers: int = Field(default=2, ge=1, description="Threads that decode, resize and encode.")
    samples_per_shard: int = Field(default=1000, gt=0, description="Samples in one tar.")


class CrawlConfig(_Section):
    """One source of kind ``site``: where to start, how far to go, and whom to be to the servers."""

    source: str = Field(default="site", description="Name that every row carries.")
    start_urls: list[str] = Field(min_length=1, description="Pages to begin with.")
    allowed_hosts: list[str] = Field(
        default_factory=list, description="Hosts whose pages are crawled; empty means those of the start URLs."
    )
    allow_loopback: list[str] = Field(
        default_factory=list, description="host:port pairs that may be private or loopback addresses."
    )
    max_depth: int = Field(default=10, ge=0, description="Links followed from a start URL.")
    max_pages: int = Field(default=10_000, ge=1, description="Pages tried.")
    product: str = Field(
        default="t2i-assets", pattern=r"^[A-Za-z0-9_-]+$", description="Name that robots.txt groups match."
    )
    contact_url: str = Field(default="", description="Where a site owner learns who crawls; needed on the open web.")
    fetch: FetchConfig = Field(default_factory=FetchConfig, description="How requests are made.")
    texts: TextConfig = Field(default_factory=TextConfig, description="Hygiene of texts.")
    images: ImageConfig = Field(default_factory=ImageConfig, description="Which images, stored how.")

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return f"{self.product}/0.1 (+{self.contact_url})" if self.contact_url else f"{self.product}/0.1"

    @property
    def page_hosts(self) -> frozenset[str]:
        """Hosts whose pages are crawled, lower case."""
        hosts = self.allowed_hosts or [URL(url).host or "" for url in self.start_urls]
        return frozenset(host.lower() for host in hosts)

    @model_validator(mode="after")
    def _say_who_crawls(self) -> Self:
        outside = [url for url in self.start_urls if URL(url).authority.lower() not in self.allow_loopback]
        if outside and not self.contact_url:
            raise ValueError(
                f"contact_url is empty, but {outside[0]} is not among allow_loopback: "
                "set contact_url to a page that tells site owners who crawls and how to opt out"
            )
        return self
