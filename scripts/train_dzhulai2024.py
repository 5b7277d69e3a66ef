"""Train and judge Dzhulai 2024 on a folder of labelled videos or folders of frames.

python scripts/train_dzhulai2024.py --data DIR --out DIR --raft-weights FILE    # three networks
python scripts/train_dzhulai2024.py --data DIR --out DIR --network cmwra --flow dis
python scripts/train_dzhulai2024.py --data DIR --out DIR --experiment dropout clipping
python scripts/train_dzhulai2024.py --data DIR --out DIR --experiment final     # Table V
"""

import tyro

from replication.cli import quiet_start, run_command
from replication.occupied import alone_in


def main() -> None:
    """Read the flags, run the study, print the paper's numbers beside ours."""
    from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
    from lungsliding_tf.dzhulai2024.data import check_flow, prepare_all

    config = tyro.cli(DzhulaiConfig, description=__doc__)
    check_flow(config)  # before a folder is made
    with alone_in(config.out):
        stores = prepare_all(config, print)
        if config.stop_after == "prepare":
            return
        # Loaded only now: preparing needs no TensorFlow, and bad input is told before its start.
        with quiet_start():
            from lungsliding_tf.dzhulai2024.train import run_study
        from replication.verdict import format_verdicts

        verdicts = run_study(config, stores, print)
        if verdicts:
            print(format_verdicts(verdicts))


if __name__ == "__main__":
    run_command(main)
