"""PyTorch, eager or compiled, as its MNIST example, with what makes it fast on a CPU.

The images lie in one tensor and batches are taken out of it by index, which a
DataLoader would do image by image; images are channels last for convolutions; Adam
is the fused one. PyTorch uses as many threads as there are cores. As `pytorch_compiled`
the network with its loss goes through `torch.compile`, which needs a C++ compiler.
"""

from __future__ import annotations

import time
import typing

from benchmarks import arrays
from benchmarks.tasks import Task, Turn

if typing.TYPE_CHECKING:
    import torch


def start(task: Task) -> PyTorchLoop:
    """Starts PyTorch."""
    return PyTorchLoop(task)


def build_network(model: str) -> torch.nn.Sequential:
    """Returns the library's network of that name, with its initial distribution.

    Images float32 `[N, 1, 28, 28]` in [0, 1] in, logits `[N, 10]` out.
    """
    from torch import nn

    layers = {
        "linear": lambda: [nn.Flatten(), nn.Linear(784, 10)],
        "mlp": lambda: [
            *(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 10)),
        ],
        "lenet5": lambda: [
            *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
        ],
        "cnn": lambda: [
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten()),
            *(nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
        ],
    }[model]()
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class PyTorchLoop:
    """A network, its optimizer and the images in memory."""

    def __init__(self, task: Task):
        import torch

        torch.manual_seed(task.seed)
        data = arrays.read(task.arrays)
        self._train = self._tensors(data.train_images, data.train_labels)
        self._validation = self._tensors(data.validation_images, data.validation_labels)
        self._batch_size = task.batch_size
        self._network = build_network(task.model)
        self._network = self._network.to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(
            self._network.parameters(), lr=1e-3, eps=1e-7, fused=True
        )
        self._batches = self._shuffled_batches()
        self._loss = self._loss_of
        if task.contender == "pytorch_compiled":
            self._loss = torch.compile(self._loss_of)

    def train(self, num_steps: int) -> Turn:
        import torch

        started = time.perf_counter()
        self._network.train()
        loss_sum = torch.zeros(())
        for _ in range(num_steps):
            images, labels = next(self._batches)
            self._optimizer.zero_grad()
            loss = self._loss(images, labels)
            loss.backward()
            self._optimizer.step()
            loss_sum += loss.detach()
        return Turn(loss_sum.item() / num_steps, time.perf_counter() - started)

    def _loss_of(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.cross_entropy(self._network(images.float() / 255), labels)

    def evaluate(self) -> float:
        import torch

        self._network.eval()
        num_correct = 0
        with torch.no_grad():
            for images, labels in zip(*(part.split(500) for part in self._validation), strict=True):
                num_correct += (
                    (self._network(images.float() / 255).argmax(1) == labels).sum().item()
                )
        return num_correct / len(self._validation[1])

    def _shuffled_batches(self):
        """Yields batches without end; the last of an epoch may be smaller."""
        import torch

        images, labels = self._train
        while True:
            for indices in torch.randperm(len(labels)).split(self._batch_size):
                yield images[indices], labels[indices]

    @staticmethod
    def _tensors(images, labels) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns images uint8 `[N, 1, 28, 28]`, channels last in memory, and labels."""
        import torch

        return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels).long()
