"""What decoding, resizing and encoding alone cost: one process, the same bytes, nothing else. Prints JSON."""

import json
import sys
import time
from pathlib import Path

from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import process_image

_AT_MOST = 1000


def floor(photos: Path, config: ImageConfig) -> dict[str, float]:
    """Return the CPU time of one image in milliseconds, in the mean over at most 1,000 photos."""
    bodies = [path.read_bytes() for path in sorted(photos.glob("*.jpg"))[:_AT_MOST]]
    process_image(bodies[0], config)
    started = time.process_time()
    for body in bodies:
        process_image(body, config)
    return {"cpu_ms": 1000 * (time.process_time() - started) / len(bodies)}


if __name__ == "__main__":
    print(json.dumps(floor(Path(sys.argv[1]), ImageConfig.model_validate_json(sys.argv[2]))))
