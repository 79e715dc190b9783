"""Files: where they are looked for, how they are written, and how checkpoints are read."""
