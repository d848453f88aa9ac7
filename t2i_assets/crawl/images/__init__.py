"""Image bytes in, stored image out: refused before decoding where they are a bomb, upright, in sRGB, encoded once."""

from t2i_assets.crawl.images.errors import ImageError
from t2i_assets.crawl.images.process import StoredImage, process_image

__all__ = ["ImageError", "StoredImage", "process_image"]
