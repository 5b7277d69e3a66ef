"""What printed numbers allow: which confusion matrices lie behind them, what contradicts what.

`recover_confusions` and its neighbours work on any numbers. What they say of the four papers is in
`papers.py` and the `claims_*.py`; the rest of the folder is checks that these share.
"""

from replication.audit.recover import (
    Confusion,
    TooManyMatrices,
    recover_compositions,
    recover_confusions,
)
from replication.audit.shares import recover_class_matrices, recover_shares, recover_sizes

__all__ = [
    "Confusion", "TooManyMatrices", "recover_class_matrices", "recover_compositions",
    "recover_confusions", "recover_shares", "recover_sizes",
]  # fmt: skip
