"""What people look at: summaries and tables."""
