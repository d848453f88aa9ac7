"""What a text counts: nouns of a list after a number or an article, as T2I-CompBench's published code reads them.

Nothing else is counted: neither the wall on which three clocks tick nor the picnic for which six people gather.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.reading.rule_parser import NUMBER_WORDS

COUNTS = {"a": 1, "an": 1, **NUMBER_WORDS}


def read_counted_nouns(path: Path) -> dict[str, str]:
    """Return the singular of each noun, singular or plural, of a list such as T2I-CompBench's new_objects.txt.

    Raises ValueError where there is no such file, and naming the line that is not "cup - cups".
    """
    if not path.is_file():
        raise ValueError(f"counted_nouns: there is no file {path}")
    singulars: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        one, dash, many = (part.strip().lower() for part in line.partition(" - "))
        if not one or not dash or not many:
            raise ValueError(f"{path}, line {number}: {line!r} is no noun with its plural, such as 'cup - cups'")
        singulars |= {many: one, one: one}
    return singulars


def count_nouns(words: Sequence[str], singulars: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return each noun of the list that directly follows a number or an article, with its count; two words first."""
    found = []
    for place, word in enumerate(words[:-1]):
        following = (" ".join(words[place + 1 : place + 3]), words[place + 1])
        noun = next((singulars[text] for text in following if text in singulars), None)
        if word in COUNTS and noun is not None:
            found.append((noun, COUNTS[word]))
    return found
