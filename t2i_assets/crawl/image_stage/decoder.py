"""What runs in the children of the image stage; it imports no more than decoding needs."""

from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import ImageError, StoredImage, process_image
from t2i_assets.crawl.status import Status


def decode(body: bytes, keep_bytes: bool, config: ImageConfig) -> StoredImage | tuple[Status, str]:
    """Return the stored form of an image as fetched, or what is wrong with it."""
    try:
        return process_image(body, config, keep_bytes)
    except ImageError as error:
        return error.status, str(error)
