"""Train and judge Kolárik 2023 on a folder of labelled videos.

python scripts/train_kolarik2023.py --data DIR --out DIR                      # all 15 cells
python scripts/train_kolarik2023.py --data DIR --out DIR --cell 2_30x30 --depth 18
python scripts/train_kolarik2023.py --data DIR --out DIR --stop-after prepare
"""

import tyro

from replication.cli import quiet_start, run_command
from replication.occupied import alone_in


def main() -> None:
    """Read the flags, run the study, print the paper's numbers beside ours."""
    from lungsliding_tf.kolarik2023.config import KolarikConfig
    from lungsliding_tf.kolarik2023.data import prepare_all

    config = tyro.cli(KolarikConfig, description=__doc__)
    with alone_in(config.out):
        stores = prepare_all(config, print)
        if config.stop_after == "prepare":
            return
        # Loaded only now: preparing needs no TensorFlow, and bad input is told before its start.
        with quiet_start():
            from lungsliding_tf.kolarik2023.train import run_study
        from replication.verdict import format_verdicts

        verdicts = run_study(config, stores, print)
        if verdicts:
            print(format_verdicts(verdicts))


if __name__ == "__main__":
    run_command(main)
