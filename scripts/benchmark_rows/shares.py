"""Rows of each network's rate as a share of a plain large matrix product's."""

from functools import partial
from pathlib import Path

from benchmark_rows.measuring import Row
from benchmark_rows.networks import NETWORKS, Network, forward_pass, random_inputs, training_step

MOST_TURNS = 5


def network_rows(network: Network, repeats: int, folder: Path, side: int | None = None) -> list:
    """A network in float32, and as --precision auto trains it where that is another.

    Args:
        network: that is measured.
        repeats, folder: as of each row.
        side: of the matrices of the product; large if not given.
    """
    from replication.environment import set_precision

    policies = ["float32"]
    try:
        # A network that is only asked, for features or flow, is asked in float32.
        policies += [set_precision("auto")] if network.study else []
        return [
            _row(network, policy, min(repeats, MOST_TURNS), side)
            for policy in dict.fromkeys(policies)
        ]
    finally:
        set_precision("float32")


def _row(network: Network, policy: str, repeats: int, side: int | None) -> Row:
    import keras

    from benchmark_rows.rates import STEP_PASSES, count_flops, share_row

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    model = network.build()
    flops = count_flops(model, network.batch)
    inputs = random_inputs(model, network.batch)
    if network.study:
        work, what = training_step(model, network.study, inputs), "training step"
        flops *= STEP_PASSES
    else:
        work, what = forward_pass(model, inputs), "forward pass"
    dtype = policy.removeprefix("mixed_")
    row = share_row(f"{what} of {network.title} ({policy})", work, flops, repeats, dtype, side)
    keras.backend.clear_session()
    return row


ROWS = {f"share_{name}": partial(network_rows, network) for name, network in NETWORKS.items()}
