"""What a run, a preparation and an export survive: a fault at every system call that writes.

    python -m tests.fault_injection --page=docs/faults.md

One process imports TensorFlow and forks; each fork does one piece of work under `strace`, which
kills it before one call, or has the call fail. Then the work is done again without a fault, and
what it comes to is compared with what it comes to where nothing ever failed.
"""
