"""What is on disk: schemas, shards, captions, blends and the catalog. Imports nothing of the project."""
