"""`t2i vote`: blind, kept at once and once, for this machine's own page alone."""

import asyncio
import json
import math
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from t2i_assets.commands.vote import vote
from t2i_assets.corpus.artifacts import Artifact, MissingArtifactError, list_refs, read_ref, write_ref
from t2i_assets.corpus.catalog import build_catalog, query
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import GENERATED, PROMPTS, VOTES
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.votes import read_votes
from t2i_assets.voting.application import application, serve
from t2i_assets.voting.ballots import ballots
from t2i_assets.voting.box import BallotBox
from t2i_assets.voting.tally import ratings, tally
from tests.sample_home import make_home

QUESTION = "Which picture shows the text better?"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=12, scenes=6)


@pytest.fixture
def home(drawn: Home, tmp_path: Path) -> Home:
    """A home of its own, whose artifacts are links to the shared ones."""
    for path in drawn.root.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return Home(tmp_path)


class Page:
    """A client of a page that is served at an address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.html, self.headers = self.get("")
        self.token = re.search(r'const token = "([^"]+)"', self.html.decode())[1]

    def get(self, path: str, **headers: str) -> tuple[bytes, dict[str, str]]:
        with urllib.request.urlopen(urllib.request.Request(self.address + path, headers=headers)) as answer:
            return answer.read(), dict(answer.headers)

    def ballot(self) -> dict:
        return json.loads(self.get("ballot")[0])

    def vote(self, ballot: object, choice: object, **headers: str) -> dict:
        return self.post("vote", json.dumps({"ballot": ballot, "choice": choice}).encode(), **headers)

    def post(self, path: str, body: bytes, **headers: str) -> dict:
        headers = {"X-Vote-Token": self.token, "Content-Type": "application/json", **headers}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, body, headers)) as answer:
            return json.loads(answer.read())


@contextmanager
def served(home: Home) -> Iterator[Page]:
    """Serve the page that Ann sees from a thread of this process."""
    app = application(ballots(home, "ann", QUESTION, None), BallotBox(home, "ann"), QUESTION)
    loop, addresses = asyncio.new_event_loop(), queue.Queue()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(serve(app, 0, addresses.put), loop).result()
    try:
        yield Page(addresses.get(timeout=10))
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def voting(home: Home) -> Iterator[Page]:
    with served(home) as page:
        yield page


def status_of(ask) -> int:
    with pytest.raises(urllib.error.HTTPError) as error:
        ask()
    error.value.close()
    return error.value.code


def test_every_prompt_is_asked_once_and_votes_and_ratings_stand_in_the_catalog(home: Home, voting: Page) -> None:
    asked: list[str] = []
    choices = ("left", "right", "tie")
    while (told := voting.ballot())["ballot"] is not None:
        assert (told["done"], told["of"]) == (len(asked), 12)
        assert voting.vote(told["ballot"], choices[len(asked) % 3]) == {"counted": True}
        asked.append(told["prompt"])
    assert len(asked) == 12
    cast_votes(home, {("alt_only-old", "blend_95_5-old"): 1})
    told = ratings(home)
    (home.votes / "ann" / "short.parquet").write_bytes(b"PAR1")
    build_catalog(home)
    elo = query(home, "SELECT * FROM elo WHERE style = 'original' ORDER BY ranking, elo DESC").to_pylist()
    assert [row["current"] for row in elo] == [True, True, False, False]
    [rated, unrated] = [one for one in told if one.style == "original"]
    assert [(row["model"], row["elo"]) for row in elo[:2]] == [(s.model, s.elo.value) for s in rated.standings]
    assert [row["scenes"] for row in elo] == [6, 6, 1, 1]
    assert "6 scenes" in elo[0]["warning"]
    assert elo[2]["elo"] is elo[2]["ranking"] is None
    assert (
        elo[2]["warning"]
        == unrated.note
        == ("no finite rating fits: alt_only (alt_only-old) never lost, blend_95_5 (blend_95_5-old) never won")
    )
    rows = query(home, "SELECT v.*, p.prompt FROM votes AS v JOIN prompts AS p USING (prompt_id)").to_pylist()
    assert Counter(row["prompt"] for row in rows) == Counter(asked)
    assert Counter(row["choice"] for row in rows) == dict.fromkeys(choices, 4)
    assert {frozenset((row["left_recipe"], row["right_recipe"])) for row in rows} == {
        frozenset(("alt_only", "blend_95_5"))
    }
    assert all(0 <= row["seconds"] < 60 and row["left_model"] != row["right_model"] for row in rows)


def test_the_page_tells_nothing_of_whose_a_picture_is(home: Home, voting: Page) -> None:
    secrets = [recipe for recipe in list_refs(home, "generated_images")]
    secrets += [artifact.digest for artifact in list_refs(home, "latent_diffusion").values()]
    seen = voting.html.decode() + json.dumps(voting.headers)
    for _ in range(6):
        told = voting.ballot()
        seen += json.dumps(told)
        for side in ("left", "right"):
            data, headers = voting.get(f"picture/{told['ballot']}/{side}")
            assert data.startswith(b"\x89PNG")
            assert headers["Content-Type"] == "image/png"
            seen += json.dumps(headers) + data.decode("latin-1")
        voting.vote(told["ballot"], "left")
    assert not [secret for secret in secrets if secret in seen]


def test_sides_and_order_are_mixed_and_differ_by_voter(home: Home) -> None:
    of_ann, of_bob = (ballots(home, voter, QUESTION, None) for voter in ("ann", "bob"))
    assert {ballot.left.recipe for ballot in of_ann} == {"alt_only", "blend_95_5"}
    assert [b.name for b in of_ann] == [b.name for b in ballots(home, "ann", QUESTION, None)]
    assert not {b.name for b in of_ann} & {b.name for b in of_bob}
    assert [b.prompt["prompt_id"] for b in of_ann] != [b.prompt["prompt_id"] for b in of_bob]
    assert [b.prompt["prompt_id"] for b in of_ann] != sorted(b.prompt["prompt_id"] for b in of_ann)


def test_a_vote_that_comes_twice_counts_once_and_the_first_stands(home: Home, voting: Page) -> None:
    name = voting.ballot()["ballot"]
    assert voting.vote(name, "left") == {"counted": True}
    assert voting.vote(name, "right") == {"counted": False}
    [ballot] = [ballot for ballot in ballots(home, "ann", QUESTION, None) if ballot.name == name]
    assert BallotBox(home, "ann").put(ballot, QUESTION, "tie") is False
    assert [(row["vote"], row["choice"]) for row in read_votes(home)] == [(name, "left")]


def test_what_was_voted_before_a_kill_is_kept_and_the_next_start_goes_on(home: Home) -> None:
    done = []
    told = [sys.executable, "-u", "-m", "t2i_assets.cli", "vote", "--home", str(home.root), "--port", "0"]
    with subprocess.Popen([*told, "--voter", "ann"], stdout=subprocess.PIPE, text=True) as process:
        try:
            page = Page(re.search(r"http://\S+/", process.stdout.readline())[0])
            for _ in range(3):
                done.append(page.ballot()["ballot"])
                page.vote(done[-1], "left")
            assert listening(process.pid) == {"0100007F"}  # 127.0.0.1
        finally:
            process.kill()
    (home.votes / "ann" / ".half.parquet.1.2").write_bytes(b"PAR1")  # what a kill in the middle of a write leaves
    with served(home) as page:
        next_one = page.ballot()
    assert next_one["done"] == 3
    assert next_one["ballot"] not in done
    assert sorted(row["vote"] for row in read_votes(home)) == sorted(done)


def listening(pid: int) -> set[str]:
    """Return the addresses, as hexadecimal digits, on which a process takes connections."""
    files = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {file[8:-1] for file in files if file.startswith("socket:")}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {fields[1].split(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in inodes}


def test_only_the_page_itself_can_vote_and_only_from_this_machine(home: Home, voting: Page) -> None:
    name = voting.ballot()["ballot"]
    assert status_of(lambda: voting.vote(name, "left", **{"X-Vote-Token": "guessed"})) == 403
    assert status_of(lambda: voting.vote(name, "left", Origin="http://elsewhere.example")) == 403
    assert status_of(lambda: voting.vote(name, "left", Origin="null")) == 403
    assert status_of(lambda: voting.vote(name, "left", Host="rebound.example:80")) == 403
    assert status_of(lambda: voting.get("", Host="rebound.example")) == 403
    assert status_of(lambda: voting.vote("no-such-ballot", "left")) == 404
    assert status_of(lambda: voting.vote(name, "both")) == 400
    assert status_of(lambda: voting.vote(["a", "list"], "left")) == 404
    assert status_of(lambda: voting.get("picture/no-such-ballot/left")) == 404
    assert status_of(lambda: voting.vote("x" * 10_000, "left")) == 413
    assert status_of(lambda: voting.post("vote", b"[" * 4000)) == 400
    assert status_of(lambda: voting.post("vote", b'"text"')) == 400
    assert status_of(lambda: voting.post("skip", b"{}")) == 404
    assert status_of(lambda: voting.post("skip", b"{}", **{"X-Vote-Token": "guessed"})) == 403
    assert read_votes(home) == []
    policy = voting.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    kind = {"Content-Type": "application/json; charset=nope"}
    assert voting.vote(name, "left", Origin=voting.address.rstrip("/"), **kind) == {"counted": True}


def test_a_voters_name_cannot_leave_the_directory(home: Home) -> None:
    for name in ("../ann", "a/b", "", "Ann", ".", "x" * 33):
        with pytest.raises(ValueError, match="a name has up to 32"):
            BallotBox(home, name)


def test_a_ballot_that_is_skipped_holds_up_no_other_and_is_asked_again_at_the_next_start(home: Home) -> None:
    with served(home) as page:
        skipped = page.ballot()["ballot"]
        assert page.post("skip", json.dumps({"ballot": skipped}).encode()) == {"skipped": True}
        told = page.ballot()
        assert told["ballot"] != skipped
        assert (told["done"], told["skipped"]) == (0, 1)
    with served(home) as page:
        assert (page.ballot()["ballot"], page.ballot()["skipped"]) == (skipped, 0)


def test_a_vote_is_kept_once_on_a_file_system_without_hard_links(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, box = ballots(home, "ann", QUESTION, None)[0], BallotBox(home, "ann")
    assert [box.put(first, QUESTION, choice) for choice in ("left", "right")] == [True, False]
    assert [row["choice"] for row in read_votes(home)] == ["left"]


def test_a_vote_that_was_cut_short_is_set_aside_and_asked_again(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    box, [first, second, *_] = BallotBox(home, "ann"), ballots(home, "ann", QUESTION, None)
    for ballot in (first, second):
        box.put(ballot, QUESTION, "left")
    path = home.votes / "ann" / f"{first.name}.parquet"
    path.write_bytes(path.read_bytes()[:100])
    assert [row["vote"] for row in read_votes(home)] == [second.name]
    assert first.name in caplog.text
    assert box.names() == {second.name}
    assert box.put(first, QUESTION, "left")
    assert {row["vote"] for row in read_votes(home)} == {first.name, second.name}


def test_a_vote_that_another_process_has_just_set_aside_ends_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (home.votes / "ann" / f"{name}.parquet" for name in ("first", "second"))
    first.parent.mkdir(parents=True)
    for path in (first, second):
        path.write_bytes(b"PAR1")
    read = pq.read_metadata

    def overtaken(path: Path) -> object:
        if path == first:
            path.unlink()  # gone before it is read
            return read(path)
        try:
            return read(path)
        finally:
            path.unlink()  # and before it is renamed

    monkeypatch.setattr(pq, "read_metadata", overtaken)
    assert read_votes(home) == []


def test_what_cannot_be_voted_on_is_said(home: Home, drawn: Home, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="pictures of two models"):
        ballots(home, "ann", QUESTION, None, ["alt_only"])
    with pytest.raises(ValueError, match="no generated images of recipe 'other'"):
        ballots(home, "ann", QUESTION, None, ["alt_only", "other"])
    with pytest.raises(ValueError, match="style 'benchmark': those there are have descriptive, original"):
        ballots(home, "ann", QUESTION, "benchmark")
    other = Home(Path(shutil.copytree(drawn.root, tmp_path / "other")))
    drawing = read_ref(other, "generated_images", "alt_only").path / "00000.parquet"
    rows = [{**row, "prompt_id": f"older {row['prompt_id']}"} for row in read_rows(drawing, GENERATED)]
    write_table(drawing, rows, GENERATED)
    with pytest.raises(MissingArtifactError, match="generated_images again"):
        ballots(other, "ann", QUESTION, None)


def test_a_prompt_that_joins_asks_nothing_again_and_another_way_of_drawing_does(drawn: Home, tmp_path: Path) -> None:
    home = Home(Path(shutil.copytree(drawn.root, tmp_path / "grown")))
    box = BallotBox(home, "ann")
    for ballot in ballots(home, "ann", QUESTION, None):
        box.put(ballot, QUESTION, "left")
    done = box.names()
    table = read_ref(home, "prompts").path / "prompts.parquet"
    rows = read_rows(table, PROMPTS)
    write_table(table, [*rows, {**rows[0], "prompt_id": "new"}], PROMPTS)
    for recipe in ("alt_only", "blend_95_5"):
        draw_again(home, recipe, ["new"], config={"seeds": [42]})
    [fresh] = {ballot.name for ballot in ballots(home, "ann", QUESTION, None)} - done
    draw_again(home, "alt_only", [], config={"seeds": [42], "sampler": {"steps": 3}})
    assert not {ballot.name for ballot in ballots(home, "ann", QUESTION, None)} & {*done, fresh}


def draw_again(home: Home, recipe: str, more: list[str], config: dict) -> None:
    """Give a recipe another artifact, which takes over the pictures of the last and adds those of ``more`` prompts."""
    last = read_ref(home, "generated_images", recipe)
    path = Path(shutil.copytree(last.path, last.path.with_name(f"{last.digest}-{len(config)}")))
    rows = read_rows(path / "00000.parquet", GENERATED)
    added = [{**rows[0], "prompt_id": prompt, "key": f"{prompt}-{rows[0]['seed']}"} for prompt in more]
    write_table(path / "00000.parquet", [*rows, *added], GENERATED)
    manifest = last.manifest.model_copy(update={"digest": path.name, "config": config})
    (path / "manifest.json").write_text(manifest.model_dump_json())
    write_ref(home, "generated_images", recipe, Artifact(path=path, manifest=manifest))


def cast_votes(home: Home, wins: dict[tuple[str, str], int], day: float = 0.0) -> None:
    """Have Ann prefer each first model to the second so many times; a model is named ``recipe-digest``."""
    names = {field.name: "x" for field in VOTES if not field.nullable}
    for (winner, loser), times in wins.items():
        for number in range(times):
            name = f"{winner}{loser}{number}"
            sides = {"left_model": winner, "right_model": loser}
            recipes = {side.replace("model", "recipe"): model.split("-")[0] for side, model in sides.items()}
            row = {**names, **sides, **recipes, "choice": "left", "scene_id": f"scene {number}", "seed": 0}
            row |= {"vote": name, "voter": "ann", "question": QUESTION, "style": "original", "voted_at": day}
            write_table(home.votes / "ann" / f"{name}.parquet", [row], VOTES)


def test_models_that_were_retrained_take_nobodys_rating_away(home: Home) -> None:
    cast_votes(home, {("alt-1", "blend-1"): 2, ("blend-1", "alt-1"): 4}, day=1)
    cast_votes(home, {("alt-2", "blend-2"): 1, ("blend-2", "alt-2"): 2, ("blend-2", "none-1"): 3}, day=2)
    newer, older, unrated = tally(read_votes(home), resamples=50)
    assert [(t.ranking, [s.model for s in t.standings], t.votes) for t in (newer, older)] == [
        (1, ["blend-2", "alt-2"], 3), (2, ["blend-1", "alt-1"], 6),
    ]  # fmt: skip
    for table in (newer, older):
        best, worst = table.standings
        assert best.elo.value - worst.elo.value == pytest.approx(400 * math.log10(2))
    assert (unrated.ranking, unrated.votes) == (None, 3)
    assert unrated.note == "no finite rating fits: none never won"


def test_ratings_follow_the_votes_with_warnings_where_there_are_few(home: Home) -> None:
    box = BallotBox(home, "ann")
    for number, ballot in enumerate(ballots(home, "ann", QUESTION, "descriptive")):
        better = "left" if ballot.left.recipe == "blend_95_5" else "right"
        box.put(ballot, QUESTION, "tie" if number == 0 else better)
    [group] = tally(read_votes(home), resamples=50)
    first, second = group.standings
    assert [first.recipe, second.recipe] == ["blend_95_5", "alt_only"]
    assert first.elo.value - second.elo.value == pytest.approx(400 * 1.0414, rel=1e-3)  # 5½ wins to ½: odds of 11
    assert (group.votes, group.voters, group.style) == (6, 1, "descriptive")
    assert "6 scenes" in group.note
    assert tally([]) == []


def test_the_command_prints_the_ratings_of_the_votes_that_are_asked_for(home: Home) -> None:
    def printed(*told: str) -> str:
        return CliRunner().invoke(vote, ["--elo", "--home", str(home.root), *told]).output

    assert "there are no such votes" in printed()
    [first, *rest] = ballots(home, "ann", QUESTION, "original")
    box = BallotBox(home, "ann")
    box.put(first, QUESTION, "left" if first.left.recipe == "blend_95_5" else "right")
    assert "blend_95_5 never lost" in printed()
    for ballot in rest:
        box.put(ballot, QUESTION, "tie")
    assert "alt_only" in printed()
    assert "6 votes of 1" in printed("--voter", "ann", "--style", "original", "--question", QUESTION)
    for told in (("--voter", "bob"), ("--style", "descriptive"), ("--question", "Other?"), ("--recipe", "alt_only")):
        assert "there are no such votes" in printed(*told)


@pytest.mark.parametrize("told", [("--port", "99999"), ("--port", "-5"), ("--style", "benchmark")])
def test_what_the_command_cannot_do_is_said_in_one_line(home: Home, told: tuple[str, str]) -> None:
    result = CliRunner().invoke(vote, ["--home", str(home.root), *told])
    assert isinstance(result.exception, SystemExit)
    assert result.output.splitlines()[-1].startswith("Error: ")
