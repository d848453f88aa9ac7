"""``t2i demo``: the whole graph on the embedded web site, made by a few workers and shown on a terminal."""
