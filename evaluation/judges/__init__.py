"""Judges of pictures behind one protocol: what they see, and how surely they say yes to a noun chunk."""
