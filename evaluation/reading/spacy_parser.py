"""spaCy as a parser, as T2I-CompBench uses it (en_core_web_sm); neither it nor a pipeline comes with this project."""

from importlib import import_module
from typing import Any

from evaluation.reading.parser import Parsed, Word
from t2i_assets.corpus.named_models import named_model_digest


class SpacyParser:
    """A pipeline of spaCy, by name or path. Raises ValueError where it cannot be loaded."""

    def __init__(self, name: str) -> None:
        try:
            spacy: Any = import_module("spacy")
            self._pipeline = spacy.load(name)
        except (ImportError, OSError) as error:
            raise ValueError(
                f"the parser {name!r} is a pipeline of spaCy that cannot be loaded ({error}): install spacy and the "
                "pipeline, or set parser to rule"
            ) from error
        told = self._pipeline.meta
        self.identity = f"spacy-{spacy.__version__}-{told['name']}-{told['version']}-{named_model_digest(name)}"

    def parse(self, text: str) -> Parsed:
        """Return words and noun chunks as spaCy sees them."""
        document = self._pipeline(text)
        words = tuple(Word(token.text, token.pos_, token.lemma_.lower()) for token in document)
        return Parsed(words, tuple((chunk.start, chunk.end) for chunk in document.noun_chunks))
