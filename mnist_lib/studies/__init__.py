"""Many runs as one result: runs compared with one another, and studies over seeds and settings."""
