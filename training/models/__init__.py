"""Models, each beside its loss and its sampler."""
