"""`python -m benchmarks`: the same command as `python scripts/benchmark.py`."""

from benchmarks import command

if __name__ == "__main__":
    command.run()
