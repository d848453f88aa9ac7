"""The claims of the field, tried in miniature: what was compared, what came out, and how sure that is."""
