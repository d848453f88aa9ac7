"""robots.txt is read as Google's published matcher reads it.

The inputs and verdicts are those of robots_test.cc in github.com/google/robotstxt. Each case is a sentence, the file,
the crawler, and which paths it may and may not ask for.
"""

from typing import NamedTuple

import pytest

from t2i_assets.crawl.consent.robotstxt import parse_robots


class Case(NamedTuple):
    sentence: str
    robots: str
    agent: str
    allowed: tuple[str, ...] = ()
    disallowed: tuple[str, ...] = ()


GROUPS = """allow: /foo/bar/

user-agent: FooBot
disallow: /
allow: /x/
user-agent: BarBot
disallow: /
allow: /y/


allow: /w/
user-agent: BazBot

user-agent: FooBot
allow: /z/
disallow: /
"""
SITEMAP_BETWEEN = "User-agent: BarBot\nSitemap: https://foo.bar/sitemap\nUser-agent: *\nDisallow: /\n"
UNKNOWN_BETWEEN = "User-agent: FooBot\nInvalid-Unknown-Line: unknown\nUser-agent: *\nDisallow: /\n"
FISH = ("/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fishheads/yummy.html", "/fish.html?id=anything")
NO_FISH = ("/bar", "/Fish.asp", "/catfish", "/?id=fish")
LINE_LIMIT = 2083 * 8
LONG_A = "/x/" + "a" * (LINE_LIMIT - len("allow: ") + 1 - 3)
LONG_B = LONG_A.replace("a", "b")
LONG_C = "/x/" + "a" * (LINE_LIMIT - len("disallow: ") + 1 - 3)


def only(allow: str) -> str:
    return f"user-agent: FooBot\ndisallow: /\nallow: {allow}\n"


CASES = [
    Case("an empty file allows everything", "", "FooBot", ("", "/x/y")),
    Case("no URL is the root", "user-agent: FooBot\ndisallow: /\n", "FooBot", (), ("",)),
    Case("an agent without a name has no group", "user-agent: FooBot\ndisallow: /\n", "", ("",)),
    Case("a line is a name, a colon and a value", "user-agent: FooBot\ndisallow: /\n", "FooBot", (), ("/x/y",)),
    Case("other names mean nothing", "foo: FooBot\nbar: /\n", "FooBot", ("/x/y",)),
    Case("a forgotten colon is understood", "user-agent FooBot\ndisallow /\n", "FooBot", (), ("/x/y",)),
    Case(
        "groups of one agent count together, rules before any group not at all",
        GROUPS, "FooBot", ("/x/b", "/z/d"), ("/y/c", "/foo/bar/"),
    ),
    Case("empty lines end no group", GROUPS, "BarBot", ("/y/c", "/w/a"), ("/z/d", "/foo/bar/")),
    Case("agents named in a row share the rules that follow", GROUPS, "BazBot", ("/z/d",), ("/foo/bar/",)),
    Case("a sitemap ends no group", SITEMAP_BETWEEN, "FooBot", (), ("/",)),
    Case("a sitemap ends no group, for the agent before it", SITEMAP_BETWEEN, "BarBot", (), ("/",)),
    Case("an unknown line ends no group", UNKNOWN_BETWEEN, "FooBot", (), ("/",)),
    Case("an unknown line ends no group, for others", UNKNOWN_BETWEEN, "BarBot", (), ("/",)),
    *(
        Case(f"names are read in any case: {name}", f"{name}: FooBot\n{allow}: /x/\n{disallow}: /\n", "FooBot",
             ("/x/y",), ("/a/b",))
        for name, allow, disallow in (
            ("USER-AGENT", "ALLOW", "DISALLOW"), ("user-agent", "allow", "disallow"),
            ("uSeR-aGeNt", "AlLoW", "dIsAlLoW"),
        )
    ),
    *(
        Case(f"agents are matched in any case: {written} for {agent}",
             f"User-Agent: {written}\nAllow: /x/\nDisallow: /\n", agent, ("/x/y",), ("/a/b",))
        for written in ("FOO BAR", "foo bar", "FoO bAr") for agent in ("Foo", "foo")
    ),
    Case(
        "an agent's name ends at its first space",
        "User-Agent: *\nDisallow: /\nUser-Agent: Foo Bar\nAllow: /x/\nDisallow: /\n", "Foo", ("/x/y",),
    ),
    Case(
        "a name with a space in it is nobody's",
        "User-Agent: *\nDisallow: /\nUser-Agent: Foo Bar\nAllow: /x/\nDisallow: /\n", "Foo Bar", (), ("/x/y",),
    ),
    Case("a group of one's own goes before that for all",
         "user-agent: *\nallow: /\nuser-agent: FooBot\ndisallow: /\n", "FooBot", (), ("/x/y",)),
    Case("the group for all is for those without one",
         "user-agent: *\nallow: /\nuser-agent: FooBot\ndisallow: /\n", "BarBot", ("/x/y",)),
    Case(
        "without a group that matches nothing is forbidden",
        "user-agent: FooBot\nallow: /\nuser-agent: BarBot\ndisallow: /\nuser-agent: BazBot\ndisallow: /\n",
        "QuxBot", ("/x/y",),
    ),
    Case("paths are compared by case: equal", "user-agent: FooBot\ndisallow: /x/\n", "FooBot", (), ("/x/y",)),
    Case("paths are compared by case: other", "user-agent: FooBot\ndisallow: /X/\n", "FooBot", ("/x/y",)),
    Case("the longer rule wins: disallow", "user-agent: FooBot\ndisallow: /x/page.html\nallow: /x/\n", "FooBot",
         (), ("/x/page.html",)),
    Case("the longer rule wins: allow", "user-agent: FooBot\nallow: /x/page.html\ndisallow: /x/\n", "FooBot",
         ("/x/page.html",), ("/x/",)),
    Case("empty rules forbid nothing", "user-agent: FooBot\ndisallow: \nallow: \n", "FooBot", ("/x/page.html",)),
    Case("of equal rules that which allows wins", "user-agent: FooBot\ndisallow: /\nallow: /\n", "FooBot",
         ("/x/page.html",)),
    Case("a slash at the end is an octet more", "user-agent: FooBot\ndisallow: /x\nallow: /x/\n", "FooBot",
         ("/x/",), ("/x",)),
    Case("of equal long rules that which allows wins",
         "user-agent: FooBot\ndisallow: /x/page.html\nallow: /x/page.html\n", "FooBot", ("/x/page.html",)),
    Case("a star counts as an octet", "user-agent: FooBot\nallow: /page\ndisallow: /*.html\n", "FooBot",
         ("/page",), ("/page.html",)),
    Case("a longer prefix goes before a star", "user-agent: FooBot\nallow: /x/page.\ndisallow: /*.html\n", "FooBot",
         ("/x/page.html",), ("/x/y.html",)),
    Case("rules for all do not count beside one's own",
         "User-agent: *\nDisallow: /x/\nUser-agent: FooBot\nDisallow: /y/\n", "FooBot", ("/x/page",), ("/y/page",)),
    Case("a URL in a query stays as it is",
         "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar?qux=taz&baz=http://foo.bar?tar&par\n", "FooBot",
         ("/foo/bar?qux=taz&baz=http://foo.bar?tar&par",)),
    Case("octets outside ASCII are escaped in the file",
         "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar/ツ\n", "FooBot", ("/foo/bar/%E3%83%84",)),
    Case("escaped octets outside ASCII stay escaped",
         "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar/%E3%83%84\n", "FooBot", ("/foo/bar/%E3%83%84",)),
    Case("escaped letters match escaped letters",
         "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar/%62%61%7A\n", "FooBot", ("/foo/bar/%62%61%7A",)),
    Case("a star stands for any octets",
         "User-agent: FooBot\nDisallow: /foo/bar/quz\nAllow: /foo/*/qux\n", "FooBot",
         ("/foo/quz", "/foo//quz", "/foo/bax/quz"), ("/foo/bar/quz",)),
    Case("a dollar sign stands for the end",
         "User-agent: FooBot\nDisallow: /foo/bar$\nAllow: /foo/bar/qux\n", "FooBot",
         ("/foo/bar/qux", "/foo/bar/", "/foo/bar/baz"), ("/foo/bar",)),
    Case("a hash begins a comment",
         "User-agent: FooBot\n# Disallow: /\nDisallow: /foo/quz#qux\nAllow: /\n", "FooBot",
         ("/foo/bar",), ("/foo/quz",)),
    Case("an index page that is allowed allows its directory",
         "User-Agent: *\nAllow: /allowed-slash/index.html\nDisallow: /\n", "foobot",
         ("/allowed-slash/", "/allowed-slash/index.html"), ("/allowed-slash/index.htm", "/anyother-url")),
    Case("a very long disallow line is cut", f"user-agent: FooBot\ndisallow: {LONG_C}/qux\n", "FooBot",
         ("/fux",), (f"{LONG_C}/fux",)),
    Case("very long allow lines are cut",
         f"user-agent: FooBot\ndisallow: /\nallow: {LONG_A}/qux\nallow: {LONG_B}/qux\n", "FooBot",
         (f"{LONG_A}/qux", f"{LONG_B}/fux"), ("/",)),
    Case("/fish is a prefix", only("/fish"), "FooBot", FISH, NO_FISH),
    Case("/fish* is /fish", only("/fish*"), "FooBot", FISH, ("/bar", "/Fish.bar", "/catfish", "/?id=fish")),
    Case("/fish/ is not /fish", only("/fish/"), "FooBot",
         ("/fish/", "/fish/salmon", "/fish/?salmon", "/fish/salmon.html", "/fish/?id=anything"),
         ("/bar", "/fish", "/fish.html", "/Fish/Salmon.html")),
    Case("/*.php is anywhere", only("/*.php"), "FooBot",
         ("/filename.php", "/folder/filename.php", "/folder/filename.php?parameters", "//folder/any.php.file.html",
          "/filename.php/", "/index?f=filename.php/"),
         ("/bar", "/php/", "/index?php", "/windows.PHP")),
    Case("/*.php$ is at the end", only("/*.php$"), "FooBot",
         ("/filename.php", "/folder/filename.php"),
         ("/bar", "/filename.php?parameters", "/filename.php/", "/filename.php5", "/php/", "/filename?php",
          "/aaaphpaaa", "//windows.PHP")),
    Case("/fish*.php is both", only("/fish*.php"), "FooBot",
         ("/fish.php", "/fishheads/catfish.php?parameters"), ("/bar", "/Fish.PHP")),
    Case("precedence: a longer allow", "user-agent: FooBot\nallow: /p\ndisallow: /\n", "FooBot", ("/page",)),
    Case("precedence: equal rules", "user-agent: FooBot\nallow: /folder\ndisallow: /folder\n", "FooBot",
         ("/folder/page",)),
    Case("precedence: a longer star", "user-agent: FooBot\nallow: /page\ndisallow: /*.htm\n", "FooBot",
         (), ("/page.htm",)),
    Case("precedence: the root alone", "user-agent: FooBot\nallow: /$\ndisallow: /\n", "FooBot", ("/",),
         ("/page.html",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_google_and_we_agree(case: Case) -> None:
    robots = parse_robots(case.robots.encode(), case.agent)
    for path in case.allowed:
        rule = robots.deciding_rule(f"http://foo.bar{path}")
        assert rule is None or rule.allows, path
    for path in case.disallowed:
        rule = robots.deciding_rule(f"http://foo.bar{path}")
        assert rule is not None and not rule.allows, path


LINES = ["User-Agent: foo", "Allow: /some/path", "User-Agent: bar", "", "", "Disallow: /"]


@pytest.mark.parametrize(
    "body",
    [
        "\n".join([*LINES, ""]),
        "\r\n".join([*LINES, ""]),
        "\r".join([*LINES, ""]),
        "\n".join(LINES),
        "User-Agent: foo\nAllow: /some/path\r\nUser-Agent: bar\n\r\n\nDisallow: /",
    ],
    ids=["Unix", "DOS", "Mac", "no newline at the end", "mixed"],
)
def test_lines_may_end_in_any_way(body: str) -> None:
    assert [rule.line for rule in parse_robots(body.encode(), "foo").rules] == ["Allow: /some/path"]
    assert [rule.line for rule in parse_robots(body.encode(), "bar").rules] == ["Disallow: /"]


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        (b"\xef\xbb\xbfUser-Agent: foo\nAllow: /AnyValue\n", 1),
        (b"\xef\xbbUser-Agent: foo\nAllow: /AnyValue\n", 1),
        (b"\xefUser-Agent: foo\nAllow: /AnyValue\n", 1),
        (b"\xef\x11\xbfUser-Agent: foo\nAllow: /AnyValue\n", 0),
        (b"User-Agent: foo\n\xef\xbb\xbfAllow: /AnyValue\n", 0),
    ],
    ids=["whole", "two octets of it", "one octet of it", "broken", "in the middle of the file"],
)
def test_a_byte_order_mark_is_skipped_at_the_beginning_only(body: bytes, rules: int) -> None:
    assert len(parse_robots(body, "foo").rules) == rules


@pytest.mark.parametrize("body", ["Sitemap: http://foo.bar/sitemap.xml\n{}", "{}Sitemap: http://foo.bar/sitemap.xml\n"])
def test_a_sitemap_may_stand_anywhere(body: str) -> None:
    robots = "User-Agent: foo\nAllow: /some/path\nUser-Agent: bar\n\n\n"
    assert [rule.line for rule in parse_robots(body.format(robots).encode(), "foo").rules] == ["Allow: /some/path"]


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("http://www.example.com", "/$"),
        ("http://www.example.com/", "/$"),
        ("http://www.example.com/a", "/a$"),
        ("http://www.example.com/a/", "/a/$"),
        ("http://www.example.com/a/b?c=http://d.e/", "/a/b?c=http://d.e/$"),
        ("http://www.example.com/a/b?c=d&e=f#fragment", "/a/b?c=d&e=f$"),
        ("http://example.com?a", "/?a$"),
        ("http://example.com/a;b#c", "/a;b$"),
        ("http://a/b/c", "/b/c$"),
        ("http://example.com/%c3%a1", "/á$"),
        ("http://example.com/%AA", "/%aa$"),
    ],
)
def test_path_and_query_are_what_is_compared(url: str, pattern: str) -> None:
    assert parse_robots(f"user-agent: *\ndisallow: {pattern}".encode(), "foo").deciding_rule(url) is not None


@pytest.mark.parametrize(
    ("allow", "path"),
    [
        ("/foo/bar/ツ", "/foo/bar/ツ"),
        ("/foo/bar/%E3%83%84", "/foo/bar/ツ"),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
    ],
)
def test_where_google_leaves_escaping_to_its_caller_we_follow_the_rfc(allow: str, path: str) -> None:
    """Google's three cases say no: its matcher wants URLs escaped beforehand. RFC 9309, 2.2.2, says they are equal."""
    rule = parse_robots(only(allow).encode(), "FooBot").deciding_rule(f"http://foo.bar{path}")
    assert rule is not None and rule.allows
