"""A dead network stops a run early; dead hosts do not."""

import pytest

from t2i_assets.crawl.http.outage import OutageWatch
from t2i_assets.crawl.status import CrawlFailedError, Status


def see(watch: OutageWatch, status: Status, count: int, hosts: int) -> None:
    for number in range(count):
        watch.see(f"http://h{number % hosts}.test/{number}", status, f"{status} happened")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.DNS, r"none of the first 50 image URLs on 10 hosts could be reached \(dns 50\); .*check .* DNS"),
        (Status.TLS, "fetch.ca_file"),
        (Status.REFUSED, "network; the last was http://h9.test/49: refused happened"),
    ],
)
def test_a_dead_network_is_named_with_its_mend(status: Status, words: str) -> None:
    watch = OutageWatch("image")
    see(watch, status, 49, 10)
    with pytest.raises(CrawlFailedError, match=words):
        watch.see("http://h9.test/49", status, f"{status} happened")


def test_few_dead_hosts_prove_nothing() -> None:
    see(OutageWatch("image"), Status.TIMEOUT, 1000, 9)


def test_one_answer_of_any_kind_ends_the_watch() -> None:
    watch = OutageWatch("image")
    see(watch, Status.DNS, 49, 49)
    watch.see("http://alive.test/", Status.HTTP_4XX, "HTTP 404")
    see(watch, Status.DNS, 1000, 1000)


def test_what_was_never_asked_says_nothing_of_the_network() -> None:
    watch = OutageWatch("image")
    see(watch, Status.BAD_URL, 30, 30)
    see(watch, Status.DNS, 49, 49)
    with pytest.raises(CrawlFailedError):
        see(watch, Status.DNS, 1, 1)
