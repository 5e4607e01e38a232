"""What people look at: event files, tables, statistics, what a run tells."""
