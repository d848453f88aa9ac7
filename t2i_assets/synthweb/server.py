"""The site over real HTTP, on loopback. Light to import: only the serving process loads what draws and serves."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from t2i_assets.synthweb.config import SiteConfig

READY = "serving "


def serve(config: SiteConfig, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve the site until interrupted; port 0 takes a free one. Prints the address once it answers."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(config, host, port))


@contextlib.contextmanager
def running(config: SiteConfig, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve the site from a process of its own and yield its base URL, without a slash at the end.

    The process ends with the block, and with this process however that ends: it stops when its standard input closes.
    Raises RuntimeError where it does not come up, for instance because the port is taken.
    """
    command = [sys.executable, "-m", "t2i_assets.synthweb.server", config.model_dump_json(), host, str(port)]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith(READY):
            raise RuntimeError(
                f"the embedded web site did not start on {host}:{port}: {line.strip() or process.wait()}"
            )
        yield line.removeprefix(READY).strip()
    finally:
        process.stdin.close()
        process.kill()  # it holds nothing that needs saving
        process.wait()
        process.stdout.close()


async def _serve(config: SiteConfig, host: str, port: int) -> None:
    from aiohttp import web

    from t2i_assets.synthweb.application import application

    runner = web.AppRunner(application(config), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        print(f"{READY}http://{host}:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _end_with_parent() -> None:
    """End this process when its standard input closes, as it does when the parent is gone, however it went."""
    sys.stdin.read()
    os._exit(0)


def _main(config: str, host: str, port: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        serve(SiteConfig.model_validate_json(config), host, int(port))
    except OSError as error:
        print(error.strerror or error, flush=True)
        os._exit(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
