"""The commands: one file each, named in `invocation.COMMANDS`; the only place that knows flags."""
