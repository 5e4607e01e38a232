"""What the benchmark's own processes run: `python -m benchmarks ROLE OPTIONS`."""

import json
import sys
from collections.abc import Callable

from benchmarks import arrays, contenders, input_cost, overhead, workers

_MEASURES: dict[str, Callable[..., dict]] = {
    "arrays": arrays.write,
    "input": input_cost.run,
    "overhead": overhead.run,
}


def main(role: str, options: dict) -> None:
    if role == "contend":
        workers.serve(contenders.Task(**options))
    else:
        print(json.dumps(_MEASURES[role](**options)))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
