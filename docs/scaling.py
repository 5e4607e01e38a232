"""Step time of data-parallel training, on paper: the tables and the picture of docs/scaling.md.

    python docs/scaling.py

prints the tables and draws docs/images/scaling.png. Times are in seconds, sizes in bytes,
bandwidths in bytes per second and direction. docs/scaling.md says where numbers are from.
"""

from __future__ import annotations

import dataclasses
import pathlib

# The affine maps of a model: inputs, outputs, and the positions in the image where it acts.
LAYERS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "linear": ((784, 10, 1),),
    "lenet5": ((25, 6, 784), (150, 16, 100), (400, 120, 1), (120, 84, 1), (84, 10, 1)),
    "mlp": ((784, 512, 1), (512, 512, 1), (512, 10, 1)),
    "cnn": ((9, 32, 676), (288, 64, 576), (9216, 128, 1), (128, 10, 1)),
}
NUM_SCALARS = 3  # objective, loss and correct predictions travel with the gradients
CPU_STEP = {"linear": 0.60e-3, "lenet5": 8.2e-3, "mlp": 5.4e-3, "cnn": 87e-3}  # 128 images

# Assumed of a GPU: half of an A100's float32 peak; a step costs at least what `linear`,
# which has next to no arithmetic, costs on a CPU: 0.6 to 1.1 ms, depending on its load.
GPU_FLOPS_PER_SECOND = 0.5 * 19.5e12
STEP_OVERHEAD = 0.86e-3
CRITICAL_BATCH_SIZE = 200  # of MNIST, on average over training
BACKWARD_SHARE = 2 / 3  # of a step's arithmetic

# NCCL's protocols: what an all-reduce costs at least, and the share of the bandwidth it uses.
PROTOCOLS = {"LL": (3.6e-6, 0.25), "LL128": (10.0e-6, 0.92), "Simple": (8.4e-6, 1.0)}
NVLINK_HOP = {"LL": 0.47e-6, "LL128": 1.9e-6, "Simple": 3.4e-6}
NETWORK_HOP = {"LL": 2.7e-6, "Simple": 9.6e-6}
BYTES_PER_GIGABIT = 12e9 / 100  # NCCL counts 12 GB/s of 100 Gbit/s

# 8 bytes all-reduced by 2, 4 and 8 servers on AWS's first EFA.
EFA_SECONDS = {2: 163.4e-6, 4: 319.4e-6, 8: 631.3e-6}
EFA_HOP = (EFA_SECONDS[4] - EFA_SECONDS[2]) / (2 * 3 - 2 * 1)


@dataclasses.dataclass(frozen=True)
class Link:
    """What joins neighbours in the ring; latency per hop by the protocols it can use."""

    bandwidth: float
    hop: dict[str, float]
    max_gpus: int = 64


LINKS = {
    "NVLink": Link(235e9, NVLINK_HOP, max_gpus=8),
    "PCIe": Link(24e9, {"LL": 1.0e-6, "Simple": 5.7e-6}, max_gpus=8),
    "InfiniBand": Link(100 * BYTES_PER_GIGABIT, NETWORK_HOP),
    "10 GbE": Link(10 * BYTES_PER_GIGABIT, {"Simple": EFA_HOP}),
}

WEAK_COLUMNS = (("NVLink", 8), ("PCIe", 8), ("InfiniBand", 8), ("InfiniBand", 64), ("10 GbE", 64))

# Published training: step without the reduction that is added, its bytes, members of the
# ring, link, and the efficiency.
_ETHERNET_25 = Link(25 * BYTES_PER_GIGABIT, NETWORK_HOP)
_ETHERNET_50 = Link(50 * BYTES_PER_GIGABIT, NETWORK_HOP)
_PASCAL = Link(4 * 18e9, NVLINK_HOP)
_RESNET50_STEP = 29 * 3600 / (90 * 1_281_167 / 256)
_VGG16 = (64 / 154, 4 * 138.36e6)
TRAINING_CHECKS = {
    "ResNet-50, 352 GPUs, 50 Gbit/s": (_RESNET50_STEP, 100e6, 44, _ETHERNET_50, 1 / 1.12),
    "Inception V3, 512 GPUs, 25 Gbit/s": (64 / 142, 4 * 23.85e6, 128, _ETHERNET_25, 0.90),
    "VGG-16, 512 GPUs, 25 Gbit/s": (*_VGG16, 128, _ETHERNET_25, 0.68),
    "VGG-16, 128 GPUs, 25 Gbit/s": (*_VGG16, 32, _ETHERNET_25, 0.79),
    "VGG-16, 8 GPUs, NVLink": (*_VGG16, 8, _PASCAL, 1081 / 8 / 154),
    "AlexNet, 8 GPUs, NVLink": (512 / 2987, 4 * 60e6, 8, _PASCAL, 17822 / 8 / 2987),
}
# Published all-reduces of 8 H200: bytes and bus bandwidth.
H200 = Link(370e9, NVLINK_HOP)
ALL_REDUCE_CHECKS = {
    2**15: 3.20e9,
    2**18: 24.63e9,
    2**21: 91.48e9,
    2**22: 139.97e9,
    2**24: 242.45e9,
}


def num_parameters(model: str) -> int:
    """Returns the number of trainable parameters."""
    return sum((inputs + 1) * outputs for inputs, outputs, _ in LAYERS[model])


def reduced_bytes(model: str) -> int:
    """Returns the bytes that one step sums over the replicas."""
    return 4 * (num_parameters(model) + NUM_SCALARS)


def flops_per_image(model: str) -> int:
    """Returns the operations of the matrix products, forward and backward.

    Backward takes two products per layer; the first layer needs no gradient of its input.
    """
    forward = [2 * inputs * outputs * positions for inputs, outputs, positions in LAYERS[model]]
    return 3 * sum(forward) - forward[0]


def all_reduce_seconds(num_bytes: float, num_gpus: int, link: Link) -> float:
    """Returns the time of a ring all-reduce in one pack, by the fastest protocol."""
    hops = 2 * (num_gpus - 1)
    if not hops:
        return 0.0
    return min(
        start + hops * link.hop[name] + hops / num_gpus * num_bytes / (share * link.bandwidth)
        for name, (start, share) in PROTOCOLS.items()
        if name in link.hop
    )


def step_seconds(model: str, batch_size: int, num_gpus: int, link: Link) -> float:
    """Returns the time of a step of `batch_size` images on all GPUs together."""
    arithmetic = -(-batch_size // num_gpus) * flops_per_image(model) / GPU_FLOPS_PER_SECOND
    return STEP_OVERHEAD + arithmetic + all_reduce_seconds(reduced_bytes(model), num_gpus, link)


def speedup(model: str, batch_size: int, num_gpus: int, link: Link) -> float:
    """Returns how many times as fast as one GPU with the same global batch."""
    one = step_seconds(model, batch_size, 1, link)
    return one / step_seconds(model, batch_size, num_gpus, link)


def paying_gpus(model: str, batch_size: int, link: Link) -> int:
    """Returns the most GPUs that pay, doubling from 1 up to the link's `max_gpus`.

    A doubling pays if it makes the step at least 10 % shorter and leaves an efficiency
    of at least 50 %.
    """
    num_gpus = 1
    while 2 * num_gpus <= link.max_gpus:
        now = speedup(model, batch_size, num_gpus, link)
        then = speedup(model, batch_size, 2 * num_gpus, link)
        if now > 0.9 * then or then < num_gpus:
            break
        num_gpus *= 2
    return num_gpus


def fastest_training(model: str, link: Link) -> tuple[int, int, float]:
    """Returns GPUs, global batch and gain of the quickest way to a given loss.

    Steps to a loss are in proportion to 1 + critical batch / batch (McCandlish et al.
    2018, equation 2.11). The gain is over one GPU with the batch that suits it best.
    """
    counts = [2**i for i in range(7) if 2**i <= link.max_gpus]
    seconds = {
        (count, batch_size): step_seconds(model, batch_size, count, link)
        * (1 + CRITICAL_BATCH_SIZE / batch_size)
        for count in counts
        for batch_size in (64, 128, 256, 512, 1024, 2048, 4096, 8192)
    }
    count, batch_size = min(seconds, key=lambda pair: seconds[pair])
    alone = min(value for pair, value in seconds.items() if pair[0] == 1)
    return count, batch_size, alone / seconds[count, batch_size]


def efficiency_bounds(compute: float, reduction: float) -> tuple[float, float]:
    """Returns the efficiency without overlap, and with all that backward can hide hidden."""
    backward = BACKWARD_SHARE * compute
    overlapped = compute - backward + max(backward, reduction)
    return compute / (compute + reduction), compute / overlapped


def _table(header: str, rows: list[list[str]]) -> str:
    names = header.split("; ")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("| --- ", "|---") for line in lines)


def _append_unless_one_gpu(rows: list[list[str]], names: list[str], cells: list[str]) -> None:
    if set(cells) != {"1"}:
        rows.append([*names, *cells])


def tables() -> list[str]:
    """Returns the tables of docs/scaling.md, in Markdown, in their order there."""
    models, training, reductions, weak = [], [], [], []
    strong: list[list[str]] = []
    fastest: list[list[str]] = []
    for model in LAYERS:
        flops = flops_per_image(model)
        row = [f"`{model}`", f"{num_parameters(model):,}", f"{reduced_bytes(model):,}"]
        rate = 128 * flops / CPU_STEP[model] / 1e9
        models.append([*row, f"{flops / 1e6:.2f}", f"{CPU_STEP[model] * 1e3:g}", f"{rate:.0f}"])
        weak.append([f"`{model}`"])
        for name, num_gpus in WEAK_COLUMNS:
            one, all_of_them = (step_seconds(model, 128 * n, n, LINKS[name]) for n in (1, num_gpus))
            weak[-1].append(f"{100 * one / all_of_them:.0f} %")
        cells = []
        for link in LINKS.values():
            count, batch_size, gain = fastest_training(model, link)
            cells.append(f"{count} with {batch_size:,} ({gain:.1f})" if gain >= 1.05 else "1")
        _append_unless_one_gpu(fastest, [f"`{model}`"], cells)
        for batch_size in (128, 1024, 8192):
            cells = []
            for link in LINKS.values():
                count = paying_gpus(model, batch_size, link)
                gain = speedup(model, batch_size, count, link)
                cells.append(f"{count} ({gain:.1f})" if count > 1 else "1")
            _append_unless_one_gpu(strong, [f"`{model}`", f"{batch_size:,}"], cells)
    for name, (compute, size, members, link, published) in TRAINING_CHECKS.items():
        none, full = efficiency_bounds(compute, all_reduce_seconds(size, members, link))
        bounds = [f"{100 * value:.0f} %" for value in (published, none, full)]
        training.append([name, *bounds, f"{100 * (none - published):+.0f}"])
    for size, bus_bandwidth in ALL_REDUCE_CHECKS.items():
        published, ours = 2 * 7 / 8 * size / bus_bandwidth, all_reduce_seconds(size, 8, H200)
        times = [f"{published * 1e6:.0f} µs", f"{ours * 1e6:.0f} µs"]
        reductions.append(
            [f"{size // 1024:,} KiB", *times, f"{100 * (ours / published - 1):+.0f} %"]
        )
    columns = "; ".join(f"{name}, {num_gpus}" for name, num_gpus in WEAK_COLUMNS)
    return [
        _table("model; parameters; bytes per step; MFLOP per image; CPU ms; GFLOP/s", models),
        _table("training; published; no overlap; full overlap; no overlap, error", training),
        _table("size; published; model; error", reductions),
        _table(f"model; {columns}", weak),
        _table(f"model; global batch; {'; '.join(LINKS)}", strong),
        _table(f"model; {'; '.join(LINKS)}", fastest),
    ]


def draw(path: pathlib.Path) -> None:
    """Draws the speed-up by link and by model, in Okabe and Ito's colours and one of Tol's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    palettes = ["#0072B2", "#009E73", "#D55E00", "#CC79A7"], ["k", "#E69F00", "#56B4E9", "#882255"]
    shifts = {"NVLink": 4, "PCIe": 0}
    by_link = [(name, "cnn", 1024, link) for name, link in LINKS.items()]
    by_model = [(model, model, 8192, LINKS["InfiniBand"]) for model in LAYERS]
    panels = [("cnn, global batch 1,024", by_link), ("InfiniBand, global batch 8,192", by_model)]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for axis, colours, (title, curves) in zip(axes, palettes, panels, strict=True):
        axis.plot([1, 64], [1, 64], color="0.6", linestyle="--", linewidth=1)
        axis.annotate("ideal", (14, 15), color="0.4", ha="right")
        for colour, (label, model, batch_size, link) in zip(colours, curves, strict=True):
            counts = [2**i for i in range(7) if 2**i <= link.max_gpus]
            values = [speedup(model, batch_size, count, link) for count in counts]
            axis.plot(counts, values, color=colour, marker="o", markersize=4)
            end, shift = (counts[-1], values[-1]), (6, shifts.get(label, -3))
            axis.annotate(label, end, shift, textcoords="offset points", color=colour)
        axis.set(title=title, xlabel="GPUs", xscale="log", yscale="log", xlim=(0.9, 200))
        axis.set(ylim=(0.4, 25), xticks=[1, 2, 4, 8, 16, 32, 64], yticks=[0.5, 1, 2, 4, 8, 16])
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("times as fast as one GPU (model)")
    figure.savefig(path, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    print("\n\n".join(tables()))
    draw(pathlib.Path(__file__).parent / "images" / "scaling.png")
