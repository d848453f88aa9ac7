"""Models that are named, not made here: what stands for one in the digests of what it makes."""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from t2i_assets.corpus.digests import digest, tree_digest

LOCAL = "local-dir:"
"""What open_clip puts before the path of a directory."""


def _at_home(name: str) -> str:
    before = LOCAL if name.startswith(LOCAL) else ""
    path = name.removeprefix(before)
    return before + str(Path(path).expanduser()) if path.startswith("~") else name


ModelName = Annotated[str, AfterValidator(_at_home)]
"""A model in a configuration: a name, a path or ``local-dir:`` and a path; ``~`` becomes the home directory."""


def named_model_digest(*names: str | None) -> str:
    """Return the digest of a model by what names it: kind, repository, weights, revision; None where one is not given.

    A name that is a path here counts by what lies there. A name of a hub counts as it is: whoever moves a tag there is
    not noticed, so pin a revision.
    """
    return digest([_content(name) for name in names])


def _content(name: str | None) -> str | None:
    path = None if name is None else Path(name.removeprefix(LOCAL))
    if path is None or not path.exists():
        return name
    if path.is_dir():
        return tree_digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
