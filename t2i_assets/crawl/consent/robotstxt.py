"""What a robots.txt says to one crawler (RFC 9309): bytes in, the line that decides about a URL out.

Where the RFC leaves room the file is read as Google's published matcher reads it: a missing colon and common
misspellings are understood, unknown lines part no groups, and a line is read up to a length.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from t2i_assets.crawl.consent.path_patterns import NormalPath, PathPattern

_MARKS = (b"\xef\xbb\xbf", b"\xef\xbb", b"\xef")  # of UTF-8, whole or cut
_MAX_LINE = 8 * 2083 - 1
_KEYS = {
    "user-agent": ("user-agent", "useragent", "user agent"),
    "disallow": ("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"),
    "allow": ("allow",),
    "crawl-delay": ("crawl-delay", "crawldelay", "crawl delay"),
}
_PRODUCT = re.compile(r"[A-Za-z0-9_-]*")
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?")


@dataclass(frozen=True, slots=True)
class Rule:
    """One allow or disallow line; ``line`` is how it reads."""

    allows: bool
    line: str
    pattern: PathPattern


@dataclass(frozen=True)
class RobotsTxt:
    """The rules for one crawler, the most specific first, and the seconds that it shall leave between requests."""

    rules: tuple[Rule, ...] = ()
    crawl_delay: float | None = None

    def deciding_rule(self, url: str) -> Rule | None:
        """Return the rule that decides about a URL: the longest that matches, of equals the one that allows.

        None means that nothing forbids it; of ``/robots.txt`` itself nothing does.
        """
        path = NormalPath.of(url)
        if path.strict == "/robots.txt":
            return None
        return next((rule for rule in self.rules if rule.pattern.matches(path)), None)


@dataclass
class _Group:
    """What all groups for one name say together."""

    named: bool = False
    rules: list[Rule] = field(default_factory=list)
    crawl_delay: float | None = None


def parse_robots(body: bytes, product: str) -> RobotsTxt:
    """Read what a robots.txt says to the crawler named ``product``; no body is refused.

    Groups that name the crawler count together; only where there are none do those for ``*`` count.
    """
    ours, everyones = _Group(), _Group()
    addressed: list[_Group] = []
    delayed: list[_Group] = []
    rules_begun = delay_begun = False
    for key, value in _lines(body):
        if key == "user-agent":
            if rules_begun:
                addressed, rules_begun = [], False
            if delay_begun:
                delayed, delay_begun = [], False
            for group, named in ((ours, _names(value, product)), (everyones, _names_everyone(value))):
                if named:
                    group.named = True
                    addressed.append(group)
                    delayed.append(group)
        elif key == "crawl-delay":
            delay_begun = True
            if seconds := _SECONDS.match(value):
                for group in delayed:
                    group.crawl_delay = max(float(seconds[0]), group.crawl_delay or 0.0)
        else:
            rules_begun = delay_begun = True
            if value and addressed:
                rules = list(_rules(key, value))
                for group in addressed:
                    group.rules += rules
    group = ours if ours.named else everyones
    rules = sorted(group.rules, key=lambda rule: (-rule.pattern.octets, not rule.allows))
    return RobotsTxt(tuple(rules), group.crawl_delay)


def _lines(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of each line that is understood, the key in its right spelling."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        body = body.decode("utf-16", "replace").encode()
    mark = next((mark for mark in _MARKS if body.startswith(mark)), b"")
    for raw in body.removeprefix(mark).splitlines():
        line = raw[:_MAX_LINE].partition(b"#")[0].strip()
        name, colon, value = line.partition(b":")
        if not colon:
            words = line.split()
            if len(words) != 2:
                continue
            name, value = words
        written = name.strip().lower().decode("latin-1")
        for key, spellings in _KEYS.items():
            if written.startswith(spellings):
                yield key, value.strip().decode("latin-1")
                break


def _names(value: str, product: str) -> bool:
    match = _PRODUCT.match(value)
    return match is not None and match[0] != "" and match[0].lower() == product.lower()


def _names_everyone(value: str) -> bool:
    return value == "*" or (value.startswith("*") and value[1].isspace())


def _rules(key: str, value: str) -> Iterator[Rule]:
    """Yield the rule of a line; a directory whose ``index.html`` is allowed is allowed too, as Google reads it."""
    allows = key == "allow"
    line = f"{key.capitalize()}: {value.encode('latin-1').decode('utf-8', 'replace')}"
    yield Rule(allows, line, PathPattern.parse(value))
    directory, slash, page = value.rpartition("/")
    if allows and slash and page.startswith("index.htm"):
        yield Rule(allows, line, PathPattern.parse(f"{directory}/$"))
