"""Asset checks: what must hold of an asset once it is made."""
