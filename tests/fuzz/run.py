"""Coverage-guided fuzzing of one target: ``python -m tests.fuzz.run html 60``; what fails lies in build/fuzz/html/."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["t2i_assets.crawl"]):
    from tests.fuzz.targets import TARGETS, write_seeds

LONGEST = 8192


def main(name: str, seconds: str) -> None:
    """Fuzz a target for so many seconds; ends with another code than 0 where it fails."""
    place = Path("build/fuzz") / name
    write_seeds(name, place / "corpus")
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=2048"]
    atheris.Setup(
        [sys.argv[0], *limits, f"-artifact_prefix={place}/", "-print_final_stats=1", str(place / "corpus")],
        TARGETS[name],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
