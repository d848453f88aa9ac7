"""Scrapy's side of the page benchmark, run in Scrapy's own environment: the same site under the same limits.

Pages become items of a JSON lines feed; with images, the items pass Scrapy's own images pipeline.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response

LAZY = ("data-src", "data-original", "data-lazy-src")


class SiteSpider(scrapy.Spider):
    """Follows every link on the host and offers the images that have a text, the largest form of each."""

    name = "site"
    allowed_domains = ("127.0.0.1",)

    def parse(self, response: Response) -> Iterator[Any]:
        if not hasattr(response, "css"):
            return
        yield {"url": response.url, "html": response.text, "image_urls": list(_images(response))}
        yield from response.follow_all(css="a[href]")


def _images(response: Response) -> Iterator[str]:
    base = response.urljoin(response.css("base::attr(href)").get(""))
    for image in response.css("img"):
        attributes = image.attrib
        texts = [attributes.get(name) for name in ("alt", "title", "aria-label")]
        texts.append(image.xpath("string(ancestor::figure//figcaption)").get())
        if not any(text and text.strip() for text in texts):
            continue
        address = _largest(image.xpath("ancestor::picture//source/@srcset").get() or attributes.get("srcset"))
        address = address or next((attributes[name] for name in LAZY if name in attributes), attributes.get("src", ""))
        if address and not address.startswith("data:"):
            yield urljoin(base, address)


def _largest(srcset: str | None) -> str | None:
    forms = [form.split() for form in (srcset or "").split(",") if form.strip()]
    return max(forms, key=lambda form: float(form[1][:-1]) if len(form) > 1 else 1.0)[0] if forms else None


def crawl(start: str, directory: Path, with_images: bool, concurrency: int, per_host: int) -> dict[str, list[str]]:
    """Crawl; return the URLs of the pages and of the images that were stored."""
    settings = {
        "USER_AGENT": "t2i-assets/0.1",
        "ROBOTSTXT_OBEY": True,
        "ROBOTSTXT_USER_AGENT": "t2i-assets",
        "CONCURRENT_REQUESTS": concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": per_host,
        "DOWNLOAD_DELAY": 0,
        "RETRY_TIMES": 2,
        "DOWNLOAD_TIMEOUT": 10,
        "COOKIES_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "LOG_LEVEL": "ERROR",
        "FEEDS": {str(directory / "items.jsonl"): {"format": "jsonlines"}},
    }
    if with_images:
        settings |= {
            "ITEM_PIPELINES": {"scrapy.pipelines.images.ImagesPipeline": 1},
            "IMAGES_STORE": str(directory / "images"),
            "IMAGES_MIN_WIDTH": 64,
            "IMAGES_MIN_HEIGHT": 64,
            "MEDIA_ALLOW_REDIRECTS": True,
        }
    process = CrawlerProcess(settings)
    process.crawl(SiteSpider, start_urls=[start])
    process.start()
    items = [json.loads(line) for line in (directory / "items.jsonl").open()]
    images = {image["url"] for item in items for image in item.get("images", ())}
    return {"pages": [item["url"] for item in items], "images": sorted(images)}


if __name__ == "__main__":
    url, out, images, requests, requests_per_host = sys.argv[1:]
    found = crawl(url, Path(out), images == "images", int(requests), int(requests_per_host))
    (Path(out) / "found.json").write_text(json.dumps(found))
