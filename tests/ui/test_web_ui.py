"""A person opens the web UI in a browser, materializes an asset, and follows a score to what is behind it."""

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
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from t2i_assets.assets.score_links import linked_scores, scored_samples
from t2i_assets.corpus.artifacts import read_ref
from t2i_assets.corpus.home import Home
from tests.sample_home import make_home

if TYPE_CHECKING:
    from playwright.sync_api import Page

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


@pytest.fixture(scope="module")
def web_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    tmp_path = tmp_path_factory.mktemp("ui")
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


@pytest.fixture(scope="module")
def page(web_ui: tuple[str, Path]) -> Iterator["Page"]:
    """One page for all tests, since loading the application is most of their time."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser.new_page(viewport={"width": 1440, "height": 900})
        browser.close()


def test_an_asset_is_materialized_from_the_browser(web_ui: tuple[str, Path], page: "Page") -> None:
    base, home = web_ui
    page.goto(f"{base}/assets/evaluation_set", timeout=120_000)
    page.get_by_role("button", name=re.compile("Materialize")).first.click(timeout=120_000)
    page.get_by_text(re.compile("Launched run")).first.wait_for(timeout=120_000)
    page.goto(f"{base}/runs", timeout=60_000)
    page.get_by_text("Success").first.wait_for(timeout=180_000)
    artifact = read_ref(Home(home), "evaluation_set")
    assert (artifact.path / "prompts.parquet").exists()


def test_a_score_leads_to_its_pictures_with_the_reason_and_on_to_the_blend(
    web_ui: tuple[str, Path], page: "Page", tmp_path: Path
) -> None:
    base, home = web_ui
    _report_scores(home, make_home(tmp_path / "home", samples=12, scenes=18))
    page.goto(f"{base}/assets/leaderboard", timeout=120_000)
    page.get_by_text("Show Markdown").first.click(timeout=120_000)
    page.locator("tr", has_text="color").first.get_by_role("link").first.click(timeout=30_000)
    page.wait_for_url(re.compile(r"/assets/t2i_compbench\?.*partition=alt_only"), timeout=60_000)
    page.get_by_text("Show Markdown").first.click(timeout=60_000)
    shown = page.locator("tr", has_text="no red star was found").first
    shown.wait_for(timeout=30_000)
    assert shown.locator("img").evaluate("image => image.naturalWidth") == 32
    page.keyboard.press("Escape")
    page.get_by_role("link", name="blend and captions").first.click(timeout=30_000)
    page.wait_for_url(re.compile(r"/assets/caption_blend\?.*partition=alt_only"), timeout=60_000)


def _report_scores(home: Path, sample: Home) -> None:
    """Tell the instance of ``home`` of scores as their assets do; they are those of another home, for speed."""
    scores, model, images = (
        read_ref(sample, asset, "alt_only") for asset in ("t2i_compbench", "latent_diffusion", "generated_images")
    )
    shown = scored_samples(sample, scores.path, model, images, read_ref(sample, "prompts").path)
    board = {"board": linked_scores(read_ref(sample, "leaderboard").path)}
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("leaderboard", metadata=board))
        instance.report_runless_asset_event(
            dg.AssetMaterialization("t2i_compbench", partition="alt_only", metadata=shown)
        )


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
