"""The project's model files on another backend of Keras, in a process of its own.

    KERAS_BACKEND=jax python -m benchmark_rows.other_backend FOLDER

Each line names a network. The first time it is built, takes FOLDER/<name>.weights.h5, is asked
about FOLDER/<name>-inputs.npz and answers into FOLDER/<name>-outputs.npy; then it is only asked.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from benchmark_rows.networks import NETWORKS, forward_pass
from benchmark_rows.partner import serve


def main() -> None:
    """Wait for names of networks."""
    folder = Path(sys.argv[1])
    asked: dict[str, Callable] = {}

    def work(name: str) -> None:
        if name in asked:
            asked[name]()
            return
        asked.clear()  # one network's memory at a time
        model = NETWORKS[name].build()
        model.load_weights(folder / f"{name}.weights.h5")
        with np.load(folder / f"{name}-inputs.npz") as stored:
            asked[name] = forward_pass(model, list(stored.values()))
        np.save(folder / f"{name}-outputs.npy", asked[name]())

    serve(f"{keras.backend.backend()} on {_device()}", work)


def _device() -> str:
    if keras.backend.backend() == "torch":
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    import jax

    return jax.default_backend()


if __name__ == "__main__":
    main()
