"""Train and judge CNR-IEMN on a folder of CT scans with slice labels.

python scripts/train_cnr_iemn.py --data DIR --out DIR                       # all of Tables 1 to 5
python scripts/train_cnr_iemn.py --data DIR --out DIR --scenario multitask --network densenet161
python scripts/train_cnr_iemn.py --data DIR --out DIR --test DIR1 DIR2 DIR3  # and Tables 6 to 8
python scripts/train_cnr_iemn.py --data DIR --out DIR --stop-after prepare
"""

import tyro

from replication.cli import quiet_start, run_command
from replication.occupied import alone_in


def main() -> None:
    """Read the flags, run the study, print the paper's numbers beside ours."""
    from cnr_iemn.config import CnrIemnConfig
    from cnr_iemn.data import prepare_all
    from cnr_iemn.segmentation import report_segmentation

    config = tyro.cli(CnrIemnConfig, description=__doc__)
    with alone_in(config.out):
        stores = prepare_all(config, print)
        report_segmentation(config, stores[0], print)
        if config.stop_after == "prepare":
            return
        # Loaded only now: preparing needs no TensorFlow, and bad input is told before its start.
        with quiet_start():
            from cnr_iemn.train import run_study
        from replication.verdict import format_verdicts

        verdicts = run_study(config, stores, print)
        if verdicts:
            print(format_verdicts(verdicts))


if __name__ == "__main__":
    run_command(main)
