"""Times training loops against each other: interleaved, as ratios within a round.

    from benchmarks import comparison, suite

    report = comparison.compare(["mirrored", "fit"], model="mlp", batch_size=128)
    report = suite.measure(["train", "startup"], suite.Request(models=["mlp", "cnn"]))

Each contender lives in a process of its own, set up as its users would set it up,
and waits between its turns. The peers' code is in files of its own: `keras_fit`,
`orbit_loop`, `pytorch_loop`, `jax_loop`; nothing but these needs what is not installed with
mnist_lib. An arrow points down only:

    command -> flags, page, terminal -> suite, tables
      -> comparison, settings_cost, time_to_accuracy, startup, overhead, summaries_cost,
         input_cost
      -> turns -> workers, arrays, contenders, settings, load, tasks
    gpu_check -> comparison, page, terminal
    soak -> process_growth, page, terminal
    child (what a worker's process runs) -> ours, keras_fit, orbit_loop, pytorch_loop,
         jax_loop, device_checks
      -> arrays, tasks
"""
