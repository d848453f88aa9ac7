"""The experiments: what is trained and measured to try the claims of the field, and what was found.

Part of the graph where the preset has a section ``claims``. The models of the blends are partitions of the ordinary
assets (``latent_diffusion``, ``clip_model`` …); here is what is there for the experiments alone.
"""

from t2i_assets.assets.claims import captions, drawings, findings

assets = [*captions.assets, *drawings.assets, *findings.assets]
