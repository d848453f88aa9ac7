"""Samples that show the same picture, and samples that give the evaluation set away.

``perceptual``: same bytes, or perceptual hashes and colours that agree. ``semantic``: embeddings that agree.
``contamination``: the same two questions, and equal texts, asked of samples against the evaluation set.
"""
