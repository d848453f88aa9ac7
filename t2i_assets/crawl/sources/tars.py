"""What a plain tar holds, and whether it is whole."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Member:
    """A regular file in a tar: where its bytes lie."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """Yield the regular files of a tar in order, without keeping them.

    Raises tarfile.ReadError where the tar ends early, is damaged, compressed or none, once what is whole was yielded.
    """
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        whole = os.fstat(file.fileno()).st_size
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would remember all of them
            if member.offset_data + member.size > whole:
                raise tarfile.ReadError(f"the tar ends within {member.name}")
            if member.isreg() and not member.issparse():
                yield Member(member.name, member.offset_data, member.size)
        file.seek(tar.offset)
        if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes garbage, and no end at all, for the end
            raise tarfile.ReadError(f"the tar breaks off at byte {tar.offset}")
