"""PyTorch's side of the GPU rows: training steps of the same networks.

    python -m benchmark_rows.torch_side resnet3d 32 60 30       # batch, frames, side

Mixed precision by autocast, channels last, cuDNN's own choice of kernels: what PyTorch recommends.
The batch lies on the device, and each step reads its loss, as Keras' does.
"""

import sys

import torch
from torch import nn

from benchmark_rows.partner import serve

L2_FACTOR, STAGES = 1e-4, (64, 128, 256, 512)


class Block(nn.Module):
    """BN-ReLU-Conv3, BN-ReLU-Conv3, added to the shortcut, as in `kolarik2023/resnet3d.py`."""

    def __init__(self, channels: int, filters: int, stride: int, pre_activate: bool):
        super().__init__()
        self.first = nn.Sequential(
            *([nn.BatchNorm3d(channels), nn.ReLU()] if pre_activate else []),
            nn.Conv3d(channels, filters, 3, stride, padding=1),
        )
        self.second = nn.Sequential(
            nn.BatchNorm3d(filters), nn.ReLU(), nn.Conv3d(filters, filters, 3, padding=1)
        )
        same = stride == 1 and channels == filters
        self.shortcut = nn.Identity() if same else nn.Conv3d(channels, filters, 1, stride)

    def forward(self, x):
        return self.shortcut(x) + self.second(self.first(x))


def build_resnet3d18() -> nn.Module:
    """The network of `build_resnet3d(18)`, to logits (batch, 1); 33,207,425 parameters."""
    parts = [nn.Conv3d(3, 64, 7, 2, padding=3), nn.BatchNorm3d(64), nn.ReLU(),
             nn.MaxPool3d(3, 2, padding=1)]  # fmt: skip
    channels = 64
    for stage, filters in enumerate(STAGES):
        for block in range(2):
            first = stage == 0 and block == 0
            parts.append(Block(channels, filters, 2 if stage and not block else 1, not first))
            channels = filters
    parts += [nn.BatchNorm3d(512), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(512, 1))


def build_backbone(name: str) -> nn.Module:
    """torchvision's network with three classes."""
    from torchvision import models

    extra = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    return getattr(models, name)(weights=None, num_classes=3, **extra)


def training_step(model: nn.Module, batch: torch.Tensor, device: str):
    """A function that trains for one step in mixed precision and reads the loss."""
    layout = torch.channels_last_3d if batch.ndim == 5 else torch.channels_last
    model = model.to(device, memory_format=layout).train()
    batch = batch.to(device).contiguous(memory_format=layout)
    dtype = torch.float16 if device == "cuda" else torch.bfloat16
    scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
    decay = L2_FACTOR if batch.ndim == 5 else 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=decay)
    labels = torch.arange(len(batch), device=device)

    def step(_: str) -> str:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=dtype):
            logits = model(batch).float()
            if logits.shape[1] == 1:
                targets = (labels % 2)[:, None].float()
                loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
            else:
                loss = nn.functional.cross_entropy(logits, labels % logits.shape[1])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return str(loss.item())

    return step


def main() -> None:
    """Build what the command line names and wait for lines."""
    name, batch, *sizes = sys.argv[1:]
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "resnet3d":
        frames, side = map(int, sizes)
        model, shape = build_resnet3d18(), (3, frames, side, side)
    else:
        model, shape = build_backbone(name), (3, int(sizes[0]), int(sizes[0]))
    step = training_step(model, torch.rand(int(batch), *shape), device)
    serve(f"PyTorch {torch.__version__} on {device}", step)


if __name__ == "__main__":
    main()
