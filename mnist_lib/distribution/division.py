"""Whether a global batch can be divided; the one place that says so. No TensorFlow."""

from __future__ import annotations

from mnist_lib import errors


def check_divides(batch_size: int, num_replicas: int, accumulation_steps: int = 1) -> None:
    """Checks that every replica gets as many images, in equal parts.

    Args:
      batch_size: the global batch size.
      num_replicas: replicas that share it, at least 1.
      accumulation_steps: parts in which each replica sees its images, at least 1.

    Raises:
      ConfigError: it cannot be divided; names the nearest size that can.
    """
    parts = num_replicas * accumulation_steps
    if batch_size % parts == 0:
        return
    nearest = max(parts, batch_size - batch_size % parts)
    among = f"{num_replicas} replica{'s' if num_replicas > 1 else ''}"
    if accumulation_steps > 1:
        among += f" in {accumulation_steps} parts each"
    raise errors.ConfigError(
        "batch_size",
        f"{batch_size} cannot be divided among {among}; choose a multiple of {parts}, "
        f"such as {nearest}",
    )
