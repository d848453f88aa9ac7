"""Parts of the third stage: what is offered, what is refused, how one image is had, and the sample it makes."""
