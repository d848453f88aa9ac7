"""A person compares pictures with the keyboard alone; what they preferred is on disk, once each."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.votes import read_votes
from t2i_assets.voting.ballots import Ballot, ballots
from tests.sample_home import make_home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUESTION = "Which picture shows the text better?"

pytestmark = [
    pytest.mark.ui,
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: the test of the page needs one on the PATH"),
]


@pytest.fixture
def voting(tmp_path: Path) -> Iterator[tuple[str, Home]]:
    home = make_home(tmp_path / "home", samples=12, scenes=6)
    told = [sys.executable, "-u", "-m", "t2i_assets.cli", "vote", "--home", str(home.root), "--port", "0"]
    with subprocess.Popen(
        [*told, "--voter", "ann", "--style", "original"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+/", server.stdout.readline())
            assert address is not None
            yield address[0], home
        finally:
            server.kill()


def test_keys_choose_a_picture_and_an_impatient_finger_counts_once(voting: tuple[str, Home]) -> None:
    from playwright.sync_api import expect, sync_playwright

    address, home = voting
    *asked, broken = ballots(home, "ann", QUESTION, "original")
    spoil(broken)
    pressed = [("", "ArrowLeft", "left"), ("", "2", "right"), ("", " ", "tie")]
    pressed += [("#left", " ", "left"), ("#right", "Enter", "right")]  # the button in focus, which Tab reaches
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page()
            errors: list[str] = []
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto(address)
            for number, (ballot, (focus, key, _)) in enumerate(zip(asked, pressed, strict=True)):
                expect(page.locator("#status")).to_have_text(f"{number} of 6")
                expect(page.locator("#prompt")).to_have_text(ballot.prompt["prompt"])
                expect(page.locator("#left")).to_be_enabled()
                assert page.evaluate("document.querySelector('#right img').naturalWidth") == 32
                if focus:
                    page.locator(focus).focus()
                for _ in range(2):
                    page.keyboard.press(key)
            assert errors == []
            expect(page.locator("#status")).to_have_text("5 of 6: a picture cannot be shown, please skip")
            expect(page.locator("#tie")).to_be_disabled()
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("s")
            expect(page.locator("#prompt")).to_have_text("That was all. Thank you!")
            expect(page.locator("#status")).to_have_text("5 of 6, 1 skipped")
            expect(page.locator("#pair")).to_be_hidden()
        finally:
            browser.close()
    choices = [choice for _, _, choice in pressed]
    votes = {row["vote"]: row["choice"] for row in read_votes(home)}
    assert votes == {ballot.name: choice for ballot, choice in zip(asked, choices, strict=True)}


def spoil(ballot: Ballot) -> None:
    """Overwrite the left picture of a ballot with what is none."""
    with (ballot.left.directory / ballot.left.place["shard"]).open("r+b") as tar:
        tar.seek(ballot.left.place["image_offset"])
        tar.write(b"no picture")
