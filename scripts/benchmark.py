"""Measure what the project claims about speed and memory, as ratios within one run.

    python3 scripts/benchmark.py                 # all rows; writes docs/benchmarks.md
    python3 scripts/benchmark.py --quick         # a part of them, under 3 minutes; only prints
    python3 scripts/benchmark.py --rows prepare share_vbreathnet
    python3 scripts/benchmark.py --rows gpu_resnet3d gpu_backbones gpu_jax_backend gpu_torch_backend

Each row times its work and its reference alternately and gives the median of the ratios with
their range, so that a busy machine slows both alike. share_* rows compare a network with a plain
large matrix product; gpu_* rows need a GPU, and PyTorch or JAX beside TensorFlow, and say so where
there is none. Needs Python 3.11 to 3.13; makes .venv on the first call.
"""

import sys
from pathlib import Path

from environment import enter

if __name__ == "__main__":
    enter()
    sys.path.insert(0, str(Path(__file__).parent))
    from benchmark_rows.command import main

    from replication.cli import run_command

    run_command(lambda: main(__doc__))
