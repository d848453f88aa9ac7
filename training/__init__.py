"""Everything that runs torch, as plain command-line jobs: ``python -m training.clip --job job.json``."""
