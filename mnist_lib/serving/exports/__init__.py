"""A run's model as files that others load, each compared with the run before it has a name."""
