"""A parser that does to its process what a page's body says; imports little, since it runs in processes of its own."""

import os
import signal
from typing import Any

from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.sources.html_page import page_pairs


def fatal_pages(page: dict[str, Any], config: CrawlConfig, snapshot: str) -> list[dict[str, Any]]:
    match page["body"]:
        case b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"memory":
            bytearray(8 << 30)
        case b"hang":
            while True:
                pass
        case b"raise":
            raise RuntimeError("no")
    return page_pairs(page, config, snapshot)
