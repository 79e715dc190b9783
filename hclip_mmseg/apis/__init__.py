"""Using a model from Python, and what the scripts in `tools/` share."""
