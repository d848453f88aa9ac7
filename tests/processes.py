"""What tests ask of processes that they did not start themselves."""

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its new parent to look does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
