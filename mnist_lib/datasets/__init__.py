"""Where examples come from: catalogue, preparation, loading, splits, pipelines."""
