"""ResNet56v2 with Changes 1 and 2 in PyTorch, trained on one resident batch: bench_train's rival.

Runs in PyTorch's own environment, without tfsc:

    python tools/bench/torch_worker.py --precision=bf16 --mode=eager

As fast as PyTorch's own options make it: channels_last, fused AdamW, autocast for bfloat16,
torch.compile. The arithmetic is the network's: same kernels, paddings, BatchNorm ε and momentum.
"""

import argparse
import sys

import bench_worker
import torch
from torch import nn
from torch.nn import functional


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Unit(nn.Module):
    """A pre-activation bottleneck: 1×1, 3×3, 1×1; the first of a stack projects its raw input."""

    def __init__(
        self, inputs: int, filters: int, outputs: int, stride: int, first: bool, pre: bool
    ):
        super().__init__()
        self.norm1 = _norm(inputs) if pre else None
        self.conv1 = nn.Conv2d(inputs, filters, 1, stride)
        self.norm2 = _norm(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1)
        self.norm3 = _norm(filters)
        self.conv3 = nn.Conv2d(filters, outputs, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 3, stride, 1) if first else nn.Identity()

    def forward(self, x):
        y = x if self.norm1 is None else functional.relu(self.norm1(x))
        y = functional.relu(self.norm2(self.conv1(y)))
        y = functional.relu(self.norm3(self.conv2(y)))
        return self.conv3(y) + self.shortcut(x)


class ResNetV2(nn.Module):
    def __init__(self, stack_units: list[int], size: int = 32, classes: int = 10):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 16, 3, 1, 1), _norm(16)
        units, inputs, filters = [], 16, 16
        for stack, count in enumerate(stack_units):
            outputs = 4 * filters if stack == 0 else 2 * filters
            for index in range(count):
                stride = 2 if stack > 0 and index == 0 else 1
                pre = stack > 0 or index > 0
                units.append(Unit(inputs, filters, outputs, stride, index == 0, pre))
                inputs = outputs
            filters = outputs
        self.units, self.head_norm = nn.Sequential(*units), _norm(inputs)
        side = size // 2 ** (len(stack_units) - 1)
        self.dense = nn.Linear(inputs * side * side, classes)

    def forward(self, x):
        x = self.units(functional.relu(self.stem_norm(self.stem(x))))
        return self.dense(functional.relu(self.head_norm(x)).flatten(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=("fp32", "bf16"), required=True)
    parser.add_argument("--mode", choices=("eager", "compile"), required=True)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--stack_units", default="6,6,6")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    units = [int(count) for count in arguments.stack_units.split(",")]
    network = ResNetV2(units).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.19, fused=True)
    images = torch.rand(arguments.batch_size, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (arguments.batch_size,))

    def loss_of(images, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
            logits = network(images)
        return functional.cross_entropy(logits.float(), labels)

    if arguments.mode == "compile":
        loss_of = torch.compile(loss_of)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(images, labels)
            loss.backward()
            optimizer.step()
        loss.item()

    run(3)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    bench_worker.serve(
        run,
        parameters=parameters,
        version=f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}",
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
