"""How the assets are cut: data by snapshot, blends and what is trained on them by recipe."""

import dagster as dg

from t2i_assets.config import load_settings

snapshots = dg.DynamicPartitionsDefinition(name="snapshot")
recipes = dg.StaticPartitionsDefinition(list(load_settings().recipes))
text_encoder_recipe = load_settings().text_encoder_recipe
