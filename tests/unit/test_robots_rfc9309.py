"""robots.txt is read as RFC 9309 says, section by section."""

import time

import pytest

from t2i_assets.crawl.consent.robotstxt import RobotsTxt, parse_robots

SIMPLE_EXAMPLE = """
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot

"""


def allows(robots: str | bytes | RobotsTxt, path: str, agent: str = "ExampleBot") -> bool:
    if isinstance(robots, str):
        robots = robots.encode()
    if isinstance(robots, bytes):
        robots = parse_robots(robots, agent)
    rule = robots.deciding_rule(f"https://www.example.com{path}")
    return rule is None or rule.allows


def forbids(pattern: str, path: str) -> bool:
    return not allows(f"user-agent: *\ndisallow: {pattern}\n", path)


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("otherbot", "/publications/a", True),
        ("otherbot", "/example/a", False),
        ("otherbot", "/a/b.gif", False),
        ("otherbot", "/a/b.gif?size=2", True),
        ("otherbot", "/publications/b.gif", True),
        ("otherbot", "/", True),
        ("foobot", "/", False),
        ("foobot", "/publications/a", False),
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("bazbot", "/example/other.html", True),
        ("barbot", "/a.gif", True),
        ("quxbot", "/example/page.html", True),
    ],
)
def test_the_simple_example_of_section_5_1(agent: str, path: str, allowed: bool) -> None:
    assert allows(SIMPLE_EXAMPLE, path, agent) == allowed


def test_the_longest_match_of_section_5_2() -> None:
    robots = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
    assert not allows(robots, "/example/page/disallowed.gif", "foobot")
    assert allows(robots, "/example/page/allowed.gif", "foobot")


def test_groups_for_one_crawler_are_merged() -> None:
    robots = parse_robots(
        b"user-agent: ExampleBot\ndisallow: /foo\ndisallow: /bar\n\nuser-agent: ExampleBot\ndisallow: /baz\n",
        "examplebot",
    )
    assert [rule.line for rule in robots.rules] == ["Disallow: /foo", "Disallow: /bar", "Disallow: /baz"]


def test_the_group_for_all_is_for_those_without_one() -> None:
    robots = "user-agent: *\ndisallow: /foo\ndisallow: /bar\n\nuser-agent: BazBot\ndisallow: /baz\n"
    assert [allows(robots, path) for path in ("/foo", "/bar", "/baz")] == [False, False, True]
    assert [allows(robots, path, "bazbot") for path in ("/foo", "/bar", "/baz")] == [True, True, False]


def test_without_a_group_no_rules_apply() -> None:
    assert allows("user-agent: BazBot\ndisallow: /\n", "/")
    assert allows("disallow: /\n", "/")


def test_a_crawler_is_named_by_its_whole_product_token() -> None:
    for value in ("ExampleBot", "EXAMPLEBOT", "examplebot/1.0", "ExampleBot (the second)"):
        assert not allows(f"user-agent: {value}\ndisallow: /\n", "/"), value
    for value in ("Example", "ExampleBotNews", "ExampleBot-News", "MyExampleBot", ""):
        assert allows(f"user-agent: {value}\ndisallow: /\n", "/"), value


def test_a_product_may_hold_digits_too() -> None:
    assert not allows("User-agent: T2I-assets/0.1\nDisallow: /\n", "/", "t2i-assets")
    assert allows("User-agent: t\nDisallow: /\n", "/", "t2i-assets")


def test_robots_txt_itself_is_always_allowed() -> None:
    assert allows("user-agent: *\ndisallow: /\n", "/robots.txt")
    assert not allows("user-agent: *\ndisallow: /\n", "/robots.txt2")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/foo/bar?baz=quz", "/foo/bar?baz=quz"),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar"),
        ("/foo/bar?baz=https%3A%2F%2Ffoo.bar", "/foo/bar?baz=https://foo.bar"),
        ("/foo/bar/\U000030c4", "/foo/bar/%E3%83%84"),
        ("/foo/bar/%E3%83%84", "/foo/bar/%E3%83%84"),
        ("/foo/bar/%e3%83%84", "/foo/bar/\U000030c4"),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
        ("/foo/bar/baz", "/foo/bar/%62%61%7a"),
        ("/~user", "/%7Euser"),
        ("/a b", "/a%20b"),
        ('/a"{b}', "/a%22%7Bb%7D"),
        ("/100%", "/100%25"),
    ],
)
def test_escaping_makes_no_difference(pattern: str, path: str) -> None:
    assert forbids(pattern, path)


def test_an_escaped_slash_in_a_path_is_not_a_slash() -> None:
    assert not forbids("/a/b", "/a%2Fb")
    assert not forbids("/a%2Fb", "/a/b")
    assert forbids("/*%2Fb", "/a?b=%2Fb")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/ # comment in line", "/a", True),
        ("/this/path/exactly$", "/this/path/exactly", True),
        ("/this/path/exactly$", "/this/path/exactly/not", False),
        ("/this/*/exactly", "/this/path/exactly", True),
        ("/this/*/exactly", "/this/and/that/exactly/so", True),
        ("/this/*/exactly", "/this/exactly", False),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html", True),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-b.html", False),
        ("/path/foo-%24", "/path/foo-$", True),
        ("/path/foo-%24", "/path/foo-", False),
        ("/a$b", "/a$b", True),
        ("/a$b", "/a", False),
        ("/**a", "/xa", True),
        ("/*$", "/anything", True),
        ("$", "/", False),
        ("*", "/", True),
        ("example/", "/example/", False),
    ],
)
def test_special_characters(pattern: str, path: str, matches: bool) -> None:
    assert forbids(pattern, path) == matches


def test_spaces_and_tabs_around_names_and_values_are_nothing() -> None:
    assert not allows(" \t user-agent \t: \t * \t\n\tdisallow\t:\t/\t\n", "/")


def test_other_records_do_not_interfere() -> None:
    robots = "user-agent: a\nsitemap: /s\nhost: x\nnonsense\nuser-agent: ExampleBot\nclean-param: y\ndisallow: /\n"
    assert not allows(robots, "/", "a")
    assert not allows(robots, "/")


def test_each_line_is_parsed_whatever_stands_around_it() -> None:
    robots = b"\x00\xff\xfe\n::::\nuser-agent: ExampleBot\n\xc3\x28: /\ndisallow\ndisallow: /b\xff\nallow: /b\xff/c\n"
    assert not allows(robots, "/b%FF")
    assert allows(robots, "/b%ff/c")


def test_a_file_in_utf_16_is_read_too() -> None:
    assert not allows("user-agent: *\ndisallow: /é\n".encode("utf-16"), "/%C3%A9")


@pytest.mark.parametrize(
    ("robots", "seconds"),
    [
        ("user-agent: *\ncrawl-delay: 2\n", 2.0),
        ("user-agent: *\nCrawl-Delay: 0.5 # half\n", 0.5),
        ("user-agent: *\ncrawl-delay: soon\n", None),
        ("user-agent: *\ncrawl-delay: -1\n", None),
        ("user-agent: *\ncrawl-delay: 2\nuser-agent: ExampleBot\ndisallow: /x\n", None),
        ("user-agent: *\nuser-agent: ExampleBot\ncrawl-delay: 2\n", 2.0),
        ("user-agent: *\ncrawl-delay: 2\n\nuser-agent: *\ncrawl-delay: 5\n", 5.0),
        ("user-agent: slowbot\ncrawl-delay: 60\n\nuser-agent: *\ndisallow: /x\n", None),
        ("crawl-delay: 9\nuser-agent: *\ndisallow: /x\n", None),
    ],
)
def test_crawl_delay_is_that_of_the_group_it_stands_in(robots: str, seconds: float | None) -> None:
    assert parse_robots(robots.encode(), "ExampleBot").crawl_delay == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"user-agent: *\n" + b"disallow: /\n" * 40_000,
        b"user-agent: *\n" + b"disallow: /" + b"*a" * 240_000 + b"$\n",
        b"user-agent: *\n" + (b"disallow: /" + b"*a" * 8000 + b"b\n") * 30,
        b"user-agent: ExampleBot\n" * 20_000 + b"allow: /\n",
        b"%" * 500_000,
        b":" * 500_000,
    ],
    ids=["many rules", "many stars", "stars that fail late", "many names", "percent signs", "colons"],
)
def test_half_a_megabyte_of_malice_costs_little(body: bytes) -> None:
    started = time.process_time()
    robots = parse_robots(body, "ExampleBot")
    for _ in range(10):
        allows(robots, "/" + "a" * 2000)
    assert time.process_time() - started < 3
