"""Run directories and repeats: where a run is recorded, and what is read of it again."""
