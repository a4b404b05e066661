"""What this machine can compute."""
