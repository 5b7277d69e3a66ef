"""Train and judge V-BreathNet and its baselines on a folder of class folders of radiographs.

python scripts/train_vbreathnet.py --data DIR --out DIR                        # all of Table 3
python scripts/train_vbreathnet.py --data DIR --out DIR --model v-breathnet
python scripts/train_vbreathnet.py --data DIR --out DIR --stop-after prepare
"""

import tyro

from replication.cli import quiet_start, run_command
from replication.occupied import alone_in


def main() -> None:
    """Read the flags, run the study, print the paper's numbers beside ours."""
    from vbreathnet.config import VBreathNetConfig
    from vbreathnet.data import prepare
    from vbreathnet.quality import report_quality

    config = tyro.cli(VBreathNetConfig, description=__doc__)
    with alone_in(config.out):
        store = prepare(config, print)
        report_quality(config, store, print)
        if config.stop_after == "prepare":
            return
        # Loaded only now: preparing needs no TensorFlow, and bad input is told before its start.
        with quiet_start():
            from vbreathnet.train import run_study
        from replication.verdict import format_verdicts

        verdicts = run_study(config, store, print)
        if verdicts:
            print(format_verdicts(verdicts))


if __name__ == "__main__":
    run_command(main)
