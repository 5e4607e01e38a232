"""Whether a model trains the same on one replica and on several."""
