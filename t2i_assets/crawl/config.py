"""What the crawl can be told: one model per stage, each field described."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from yarl import URL

Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called now and then with (URLs done, URLs known, URLs by status)."""


def silent(done: int, total: int, counts: Mapping[str, int]) -> None:
    """Report no progress."""


_OF_SPEED_ALONE = {"concurrency", "per_host_concurrency", "dns_ttl_seconds", "dns_cache_size", "dns_lookups"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FetchConfig(_Section):
    """How requests are made."""

    concurrency: int = Field(default=64, ge=1, description="Requests in flight over all hosts.")
    per_host_concurrency: int = Field(default=8, ge=1, description="Requests in flight to one host and port.")
    connect_seconds: float = Field(default=5.0, gt=0, description="Limit for connecting to one address.")
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
    tdm: bool = Field(
        default=True,
        description="Ask every origin for /.well-known/tdmrep.json and leave alone what it reserves; headers and meta "
        "tags that reserve are heeded either way.",
    )
    max_expansion: float = Field(
        default=200.0, gt=1, description="A body of 1 MiB or more that grows beyond this by content-encoding is a bomb."
    )
    max_headers: int = Field(default=256, gt=0, description="Header lines of one response.")
    max_header_bytes: int = Field(default=32_768, gt=0, description="Cap on one header line.")
    breaker_failures: int = Field(
        default=16, ge=1, description="Failures in a row after which a host is left alone for a while."
    )
    breaker_seconds: float = Field(default=5.0, gt=0, description="First such while; doubles while the host is dead.")
    breaker_max_seconds: float = Field(default=300.0, gt=0, description="Longest such while.")
    dns_seconds: float = Field(default=5.0, gt=0, description="Limit for resolving one name.")
    dns_lookups: int = Field(default=8, ge=1, description="Names resolved at once.")
    dns_ttl_seconds: float = Field(default=300.0, ge=0, description="How long a resolved name is kept.")
    dns_failure_seconds: float = Field(default=30.0, ge=0, description="How long it is known that a name has none.")
    dns_cache_size: int = Field(default=10_000, ge=1, description="Names kept.")
    ca_file: str | None = Field(
        default=None, description="PEM file of certificate authorities trusted besides the system's."
    )


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
    resampling: Literal["area", "lanczos"] = Field(
        default="area", description="How images are made smaller; they are made larger by Lanczos."
    )
    format: Literal["jpg", "webp", "png"] = Field(default="jpg", description="Stored format.")
    quality: int = Field(
        default=95,
        ge=1,
        le=100,
        description="Quality of a stored JPEG or WebP; 100 makes WebP lossless. No use to PNG.",
    )
    subsampling: Literal["444", "422", "420"] = Field(default="444", description="Chroma of a stored JPEG.")
    workers: int = Field(default=2, ge=1, description="Processes that decode, resize and encode.")
    samples_per_shard: int = Field(default=1000, gt=0, description="Samples in one tar.")


class _Source(_Section):
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="Name that every row from this source carries.")


class SiteSource(_Source):
    """A web site, crawled page by page."""

    kind: Literal["site"] = "site"
    start_urls: list[str] = Field(
        default_factory=list, description="Pages to begin with; none means the embedded site's first page."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list, description="Hosts whose pages are crawled; empty means those of the start URLs."
    )
    max_depth: int = Field(default=10, ge=0, description="Links followed from a start URL.")
    max_pages: int = Field(default=10_000, ge=1, description="Pages tried.")

    @property
    def page_hosts(self) -> frozenset[str]:
        """Hosts whose pages are crawled, lower case."""
        hosts = self.allowed_hosts or [URL(url).host or "" for url in self.start_urls]
        return frozenset(host.lower() for host in hosts)


class WarcSource(_Source):
    """Common Crawl archives: WARC files give pages, WAT files give links to images without their pages."""

    kind: Literal["warc"] = "warc"
    paths: list[str] = Field(
        min_length=1, description="Files, globs or http(s) URLs ending in .warc[.gz] or .wat[.gz]."
    )
    max_records: int | None = Field(default=None, ge=1, description="Pages read from each file; null reads all.")
    max_file_bytes: int = Field(default=2_000_000_000, gt=0, description="Cap on one file that is fetched by URL.")
    max_file_seconds: float = Field(default=3600.0, gt=0, description="Deadline of one file that is fetched by URL.")
    verify_digests: bool = Field(
        default=True, description="Leave out records that are not what their own WARC-Block-Digest says."
    )


class UrlListSource(_Source):
    """A table of image URLs and texts, as LAION and COYO are published."""

    kind: Literal["url_list"] = "url_list"
    paths: list[str] = Field(
        min_length=1, description="Files or globs: .parquet, .csv, .tsv or .jsonl, each but parquet also with .gz."
    )
    columns: list[str] | None = Field(
        default=None, description="Column names of csv and tsv files without a line of names; null reads that line."
    )
    url_column: str = Field(default="url", description="Column of the image URL.")
    text_columns: list[str] = Field(
        default=["text"],
        min_length=1,
        description="Columns of texts or of lists of texts, in order of trust; each is one text of the image.",
    )
    page_column: str | None = Field(default=None, description="Column of the page that showed the image.")
    license_column: str | None = Field(default=None, description="Column of the licence link.")
    max_rows: int | None = Field(default=None, ge=1, description="Rows read over all files; null reads all.")


class FolderSource(_Source):
    """Images of a local directory, with texts beside them."""

    kind: Literal["folder"] = "folder"
    path: str = Field(description="Directory, searched with its subdirectories.")
    captions: str | None = Field(
        default=None,
        description="COCO-style JSON of captions; null reads name.txt or name.json beside each image.",
    )
    text_fields: list[str] = Field(
        default=["caption", "text", "alt"],
        min_length=1,
        description="Fields of name.json that hold a text or a list of texts.",
    )
    license_url: str | None = Field(default=None, description="Licence of the whole directory.")


class WebDatasetSource(_Source):
    """Existing WebDataset tars; their images are stored as they are, not encoded again."""

    kind: Literal["webdataset"] = "webdataset"
    paths: list[str] = Field(min_length=1, description="Tars, globs or brace ranges such as data/{00000..00012}.tar.")
    image_extensions: list[str] = Field(
        default=["jpg", "jpeg", "png", "webp"], min_length=1, description="Members that are images, in order of choice."
    )
    text_extensions: list[str] = Field(default=["txt", "caption"], description="Members that are texts.")
    json_fields: list[str] = Field(
        default=["caption", "text", "alt_text"], description="Fields of a .json member that hold a text or texts."
    )
    url_field: str = Field(default="url", description="Field of a .json member that tells where the image came from.")
    license_field: str = Field(default="license", description="Field of a .json member that holds the licence link.")


Source = Annotated[
    SiteSource | WarcSource | UrlListSource | FolderSource | WebDatasetSource, Field(discriminator="kind")
]


class CrawlConfig(_Section):
    """Where images and texts come from, and whom to be to the servers."""

    sources: list[Source] = Field(min_length=1, description="Read in this order into one snapshot.")
    allow_loopback: list[str] = Field(
        default_factory=list, description="host:port pairs that may be private or loopback addresses."
    )
    product: str = Field(
        default="t2i-assets", pattern=r"^[A-Za-z0-9_-]+$", description="Name that robots.txt groups match."
    )
    contact_url: str = Field(default="", description="Where a site owner learns who crawls; needed on the open web.")
    recrawl: bool = Field(
        default=True,
        description="Ask for what an earlier snapshot has only if it changed (ETag, Last-Modified), and take it from "
        "there where it did not.",
    )
    fetch: FetchConfig = Field(default_factory=FetchConfig, description="How requests are made.")
    texts: TextConfig = Field(default_factory=TextConfig, description="Hygiene of texts.")
    images: ImageConfig = Field(default_factory=ImageConfig, description="Which images, stored how.")

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return f"{self.product}/0.1 (+{self.contact_url})" if self.contact_url else f"{self.product}/0.1"

    def identity(self, stage: Literal["pages", "pairs", "images"]) -> dict[str, Any]:
        """Return what of this configuration a stage's output depends on; how fast it works is no part of it.

        So another image size crawls no page again.
        """
        unread: dict[str, Any] = {"fetch": _OF_SPEED_ALONE, "images": {"workers"}}
        if stage == "pages":
            unread |= {"texts": True, "images": True}
        if stage == "pairs":
            unread |= {"fetch": True, "images": set(ImageConfig.model_fields) - {"min_side"}}
        return self.model_dump(mode="json", exclude=unread)

    def source(self, name: str) -> Source:
        """Return the source of a name. Raises KeyError where there is none."""
        return {source.name: source for source in self.sources}[name]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        twice = [name for name, count in Counter(source.name for source in self.sources).items() if count > 1]
        if twice:
            raise ValueError(f"two sources are named {twice[0]!r}: a row could not tell which it came from")
        return self

    @model_validator(mode="after")
    def _say_who_crawls(self) -> Self:
        if self.contact_url:
            return self
        for source in self.sources:
            if isinstance(source, SiteSource):
                outside = [url for url in source.start_urls if URL(url).authority.lower() not in self.allow_loopback]
            elif isinstance(source, WarcSource | UrlListSource):
                outside = [] if self.allow_loopback else source.paths
            else:
                outside = []
            if outside:
                raise ValueError(
                    f"contact_url is empty, but source {source.name!r} leads to the web ({outside[0]}): "
                    "set contact_url to a page that tells site owners who crawls and how to opt out"
                )
        return self
