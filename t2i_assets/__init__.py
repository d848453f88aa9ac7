"""Assets that take image and text pairs from the open web to a scored text-to-image model."""
