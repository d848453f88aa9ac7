"""What all assets of the experiments share."""

from t2i_assets.claims.config import ClaimsConfig
from t2i_assets.config import load_settings

GROUP = {"group_name": "claims", "owners": ["team:captions"]}
TRAINED = {**GROUP, "kinds": {"pytorch"}, "pool": "training"}
CONFIG = load_settings().claims or ClaimsConfig()
