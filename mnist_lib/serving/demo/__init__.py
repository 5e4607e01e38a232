"""A page to draw on, served on this machine: what a run's network makes of a picture."""
