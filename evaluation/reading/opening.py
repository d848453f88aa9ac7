"""The parser by name."""

from evaluation.reading.parser import Parser
from evaluation.reading.rule_parser import RuleParser
from evaluation.reading.spacy_parser import SpacyParser


def open_parser(name: str) -> Parser:
    """Return the parser ``rule``, or spaCy's pipeline of that name or path.

    Raises ValueError where spaCy or the pipeline is not there.
    """
    return RuleParser() if name == "rule" else SpacyParser(name)
