"""What an origin's files mean when they can be had, when they cannot, and when a crawl takes days."""

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from t2i_assets.crawl.config import CrawlConfig, FetchConfig, FolderSource
from t2i_assets.crawl.consent.robots import CACHED_SECONDS, Robots, interpret
from t2i_assets.crawl.consent.tdmrep import TDM_PATH
from t2i_assets.crawl.consent.verdict import Verdict
from t2i_assets.crawl.http.fetch import Fetched, Fetcher
from t2i_assets.crawl.status import Status
from tests.unit.crawl_site import Answer, Site, serving

CLOSED = Answer(b"user-agent: *\ndisallow: /\n", "text/plain")
OPEN = Answer(b"user-agent: *\nallow: /\n", "text/plain")
RESERVED = Answer(b'[{"location": "/photos/", "tdm-reservation": 1}]', "application/json")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


def configure(*sites: Site, **fetch: object) -> CrawlConfig:
    settings = {"retries": 0, "backoff_seconds": 0.01} | fetch
    return CrawlConfig(
        sources=[FolderSource(name="none", path="/nowhere")],
        allow_loopback=[site.authority for site in sites],
        fetch=FetchConfig.model_validate(settings),
    )


def ask(config: CrawlConfig, *urls: str, wait: float = 0.0) -> list[Verdict]:
    """Return the verdicts of URLs asked one after the other, ``wait`` seconds apart by the clock of the cache."""

    async def work() -> list[Verdict]:
        now = 0.0
        verdicts = []
        async with Fetcher(config) as fetcher:
            robots = Robots(fetcher, config, "demo", lambda: now)
            for url in urls:
                verdicts.append(await robots.verdict(url))
                now += wait
        return verdicts

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (CLOSED, "robots_disallowed"),
        (OPEN, "allowed"),
        (Answer(b"<html>not found, says the page", status=200), "allowed"),
        (Answer(status=204), "allowed"),
        (Answer(status=401), "allowed"),
        (Answer(status=403), "allowed"),
        (Answer(status=404), "allowed"),
        (Answer(status=410), "allowed"),
        (Answer(status=429), "robots_unreachable"),
        (Answer(status=500), "robots_unreachable"),
        (Answer(status=503), "robots_unreachable"),
        (Answer(status=302), "robots_unreachable"),
        (Answer(raw=b"garbage\r\n\r\n"), "robots_unreachable"),
        (Answer(raw=b""), "robots_unreachable"),
        (Answer(b"user-agent: *", length=500), "robots_unreachable"),
    ],
    ids=lambda value: f"{value.status} {value.body[:12]!r}" if isinstance(value, Answer) else value,
)
def test_what_a_response_means(site: Site, answer: Answer, rule: str) -> None:
    site.routes["/robots.txt"] = answer
    (verdict,) = ask(configure(site), site.url("/x"))
    assert (verdict.allowed, verdict.rule) == (rule == "allowed", rule)


def test_a_host_that_cannot_be_reached_forbids_everything() -> None:
    with serving() as site:
        url = site.url("/x")
        config = configure(site)
    (verdict,) = ask(config, url)
    assert verdict.rule == "robots_unreachable" and verdict.status == Status.REFUSED


@pytest.mark.parametrize(("hops", "rule"), [(1, "robots_disallowed"), (5, "robots_disallowed"), (6, "allowed")])
def test_five_redirects_are_followed(site: Site, hops: int, rule: str) -> None:
    places = ["/robots.txt", *(f"/r{n}" for n in range(hops))]
    for here, there in itertools.pairwise(places):
        site.routes[here] = Answer(status=301, headers=(("Location", there),))
    site.routes[places[-1]] = CLOSED
    assert ask(configure(site), site.url("/x"))[0].rule == rule


def test_fewer_redirects_than_five_prove_nothing(site: Site) -> None:
    site.routes["/robots.txt"] = Answer(status=301, headers=(("Location", "/other"),))
    site.routes["/other"] = CLOSED
    assert ask(configure(site, redirects=0), site.url("/x"))[0].rule == "robots_unreachable"


def test_rules_found_on_another_host_are_those_of_the_first(site: Site) -> None:
    with serving() as other:
        site.routes["/robots.txt"] = Answer(status=302, headers=(("Location", other.url("/elsewhere.txt")),))
        other.routes["/elsewhere.txt"] = CLOSED
        verdicts = ask(configure(site, other), site.url("/x"), other.url("/x"))
    assert [verdict.rule for verdict in verdicts] == ["robots_disallowed", "allowed"]


def test_the_file_is_asked_for_once(site: Site) -> None:
    site.routes["/robots.txt"] = OPEN
    ask(configure(site), *(site.url(f"/{n}") for n in range(20)))
    assert site.count("/robots.txt") == site.count(TDM_PATH) == 1


def test_after_a_day_the_file_is_asked_for_again(site: Site) -> None:
    site.routes["/robots.txt"] = lambda asked, _: CLOSED if asked else OPEN
    verdicts = ask(configure(site), *[site.url("/x")] * 4, wait=CACHED_SECONDS / 2)
    assert [verdict.allowed for verdict in verdicts] == [True, True, False, False]
    assert site.count("/robots.txt") == 2


def test_what_becomes_unreachable_keeps_its_rules(site: Site) -> None:
    site.routes["/robots.txt"] = lambda asked, _: Answer(status=500) if asked else OPEN
    verdicts = ask(configure(site), *[site.url("/x")] * 2, wait=CACHED_SECONDS)
    assert [verdict.evidence for verdict in verdicts] == ["robots.txt: Allow: /"] * 2


def test_a_caller_that_gives_up_leaves_the_answer_to_the_others(site: Site) -> None:
    site.routes["/robots.txt"] = Answer(CLOSED.body, "text/plain", delay=0.3)
    config = configure(site)

    async def work() -> Verdict:
        async with Fetcher(config) as fetcher:
            robots = Robots(fetcher, config, "demo")
            hasty = asyncio.create_task(robots.verdict(site.url("/x")))
            patient = asyncio.create_task(robots.verdict(site.url("/y")))
            await asyncio.sleep(0.1)
            hasty.cancel()
            return await patient

    assert asyncio.run(work()).rule == "robots_disallowed"


def test_a_long_file_is_read_as_far_as_the_limit() -> None:
    fetched = Fetched("http://a.test/robots.txt", "http://a.test/robots.txt", Status.TOO_LARGE)
    fetched.body = b"user-agent: *\ndisallow: /private\nallow: /private/a"
    rules = interpret(fetched, configure()).robots.rules
    assert [rule.line for rule in rules] == ["Disallow: /private"]


@pytest.mark.parametrize(
    ("path", "tdm", "allowed"),
    [("/photos/a.jpg", True, False), ("/photos/a.jpg", False, True), ("/other/a.jpg", True, True)],
)
def test_what_an_origin_reserves_is_left_alone(site: Site, path: str, tdm: bool, allowed: bool) -> None:
    site.routes[TDM_PATH] = RESERVED
    (verdict,) = ask(configure(site, tdm=tdm), site.url(path))
    assert verdict.allowed == allowed
    assert site.count(TDM_PATH) == tdm
    if not allowed:
        assert verdict.status == Status.CONSENT_DENIED
        assert verdict.evidence == f"{TDM_PATH}: location: /photos/; tdm-reservation: 1"


@pytest.mark.parametrize(
    "route",
    [Answer(status=500), Answer(b"<html>"), lambda asked, headers: Answer(status=403), Answer(raw=b"")],
)
def test_an_origin_without_a_tdm_file_reserves_nothing(
    site: Site, route: Answer | Callable[[int, dict[str, str]], Answer]
) -> None:
    site.routes[TDM_PATH] = route
    assert ask(configure(site), site.url("/x"))[0].allowed


def test_robots_txt_can_close_the_tdm_file_itself(site: Site) -> None:
    site.routes |= {"/robots.txt": Answer(b"user-agent: *\ndisallow: /.well-known/\n"), TDM_PATH: RESERVED}
    assert ask(configure(site), site.url("/photos/a.jpg"))[0].allowed
    assert site.count(TDM_PATH) == 0
