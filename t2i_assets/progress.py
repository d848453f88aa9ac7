"""Progress of long work as log records: the terminal shows them, the run's log keeps a few."""

import logging
import re
import time
from collections.abc import Callable, Mapping

import dagster as dg

progress_log = logging.getLogger("t2i_assets.progress")


_FIGURE = re.compile(r"(\S+?)=(\S+)")


def figures_of(line: str) -> dict[str, str]:
    """Return the figures of a progress line: ``step=3 total=9 loss=2.1`` by name."""
    return dict(_FIGURE.findall(line))


def unit_name(context: dg.AssetExecutionContext) -> str:
    """Return the asset's name, with the partition in brackets where it has one."""
    name = context.asset_key.to_user_string()
    return f"{name}[{context.partition_key}]" if context.has_partition_key else name


def url_progress(context: dg.AssetExecutionContext) -> Callable[[int, int, Mapping[str, int]], None]:
    """Return what a crawl calls with (URLs done, URLs known, URLs by status); the run's log gets it now and then."""
    last = 0.0

    def report(done: int, total: int, counts: Mapping[str, int]) -> None:
        nonlocal last
        if time.monotonic() - last < 1:
            return
        last = time.monotonic()
        ok = counts.get("ok", 0)
        progress_log.info("step=%d total=%d ok=%d", done, total, ok, extra={"unit": unit_name(context)})
        context.log.info(f"{done} of {total} URLs: " + ", ".join(f"{name} {count}" for name, count in counts.items()))

    return report
