"""The embedded default: what renders scenes with exact masks, and a tiny CLIP that read their captions."""
