"""Frozen text encoders that condition a diffusion model, behind one protocol."""
