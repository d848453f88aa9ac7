"""Models that say how well a text fits an image, behind one protocol: ours, BLIP of transformers, CLIP of open_clip."""
