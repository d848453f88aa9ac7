"""What an image that is not taken raises."""

from t2i_assets.crawl.status import Status


class ImageError(ValueError):
    """An image that is not taken; ``status`` is what the ledger says."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status = status
