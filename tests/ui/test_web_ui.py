"""A person opens the web UI in a browser, materializes an asset and sees that it succeeded."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i_assets.corpus.artifacts import read_ref
from t2i_assets.corpus.home import Home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.ui,
    pytest.mark.xdist_group("graph"),
    pytest.mark.timeout(420),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: the test of the web UI needs one on the PATH"),
]


@pytest.fixture
def web_ui(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "ui.log").open("w")
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "t2i_assets.cli",
            "ui",
            "--preset",
            "smoke",
            "--home",
            str(tmp_path),
            "--port",
            str(port),
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(os.environ),
        start_new_session=True,
    )
    try:
        _wait_until_served(f"http://127.0.0.1:{port}/server_info", server, tmp_path / "ui.log")
        yield f"http://127.0.0.1:{port}", tmp_path
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
        log.close()


def test_an_asset_is_materialized_from_the_browser(web_ui: tuple[str, Path]) -> None:
    from playwright.sync_api import sync_playwright

    base, home = web_ui
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{base}/assets/evaluation_set", timeout=120_000)
        page.get_by_role("button", name=re.compile("Materialize")).first.click(timeout=120_000)
        page.get_by_text(re.compile("Launched run")).first.wait_for(timeout=120_000)
        page.goto(f"{base}/runs", timeout=60_000)
        page.get_by_text("Success").first.wait_for(timeout=180_000)
        browser.close()
    artifact = read_ref(Home(home), "evaluation_set")
    assert (artifact.path / "prompts.parquet").exists()


def _wait_until_served(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the web UI did not answer: {log.read_text()[-3000:]}")
