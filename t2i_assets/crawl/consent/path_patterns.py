"""How robots.txt and tdmrep.json name paths: octets, ``*`` for any of them, ``$`` for the end.

RFC 9309, sections 2.2.2 and 2.2.3. Text is held as Latin-1 here: one character is one octet.
"""

import re
import string
from dataclasses import dataclass
from typing import Self

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_TO_NORMALISE = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~:/?#@!$&'()*+,;=]")
_ALIKE_IN_A_QUERY = re.compile(r"%(?:2F|3A|3F|40)")


@dataclass(frozen=True, slots=True)
class _Form:
    """One normal form of a pattern: what stands between its stars, and whether it reaches to the end of the path."""

    parts: tuple[str, ...]
    anchored: bool

    def matches(self, path: str) -> bool:
        """Return whether the path matches; takes time in proportion to both lengths, whatever they hold."""
        if not path.startswith(self.parts[0]):
            return False
        position = len(self.parts[0])
        if len(self.parts) == 1:
            return not self.anchored or position == len(path)
        for part in self.parts[1:-1]:
            found = path.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        last = self.parts[-1]
        if self.anchored:
            return len(path) - len(last) >= position and path.endswith(last)
        return path.find(last, position) >= 0


@dataclass(frozen=True, slots=True)
class PathPattern:
    """One path pattern; ``octets`` is its length, by which the most specific of several is found."""

    octets: int
    strict: _Form
    loose: _Form

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern as it stands in the file."""
        anchored = text.endswith("$")
        strict = _normal(text.removesuffix("$")).replace("$", "%24")
        loose = _loosen_query(strict)
        forms = [_Form(tuple(form.split("*")), anchored) for form in (strict, loose)]
        return cls(len(strict) + anchored, forms[0], forms[1])

    def matches(self, path: "NormalPath") -> bool:
        """Return whether the path of a URL matches from its first octet on."""
        return self.strict.matches(path.strict) or (
            (path.loose is not path.strict or self.loose != self.strict) and self.loose.matches(path.loose)
        )


@dataclass(frozen=True, slots=True)
class NormalPath:
    """Path and query of a URL, ready for comparison.

    ``loose`` has the slashes, colons, question and at signs of the query unescaped: ``?u=https://a`` and
    ``?u=https%3A%2F%2Fa`` are one (RFC 9309, table in 2.2.2).
    """

    strict: str
    loose: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read an absolute URL, percent-encoded or not."""
        _, _, rest = url.encode("utf-8", "surrogatepass").decode("latin-1").partition("://")
        rest = rest.partition("#")[0]
        start = min(at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0)
        path = rest[start:] if rest.startswith("/", start) else "/" + rest[start:]
        strict = _normal(path).replace("*", "%2A").replace("$", "%24")
        return cls(strict, _loosen_query(strict))


def _normal(text: str) -> str:
    """Return the text with escapes of unreserved octets resolved, other escapes in capitals, and the rest escaped."""
    return _TO_NORMALISE.sub(_normal_octet, text)


def _normal_octet(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) == 1:
        return f"%{ord(text):02X}"
    octet = chr(int(text[1:], 16))
    return octet if octet in _UNRESERVED else text.upper()


def _loosen_query(text: str) -> str:
    path, mark, query = text.partition("?")
    if "%" not in query:
        return text
    return path + mark + _ALIKE_IN_A_QUERY.sub(lambda match: chr(int(match[0][1:], 16)), query)
