"""Models that are named, not made here: what stands for one in the digests of what it makes."""

import hashlib
from pathlib import Path

from t2i_assets.corpus.digests import digest, tree_digest

LOCAL = "local-dir:"
"""What open_clip puts before the path of a directory."""


def named_model_digest(*names: str | None) -> str:
    """Return the digest of a model by what names it: kind, repository, weights, revision; None where one is not given.

    A name that is a path here counts by what lies there. A name of a hub counts as it is: whoever moves a tag there is
    not noticed, so pin a revision.
    """
    return digest([_content(name) for name in names])


def _content(name: str | None) -> str | None:
    path = None if name is None else Path(name.removeprefix(LOCAL)).expanduser()
    if path is None or not path.exists():
        return name
    if path.is_dir():
        return tree_digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
