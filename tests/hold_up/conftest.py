"""Damaged files and the readers that have to bear them, for tests here and for their workers."""

import sys
from pathlib import Path

# `fuzz.py` runs as a process too, so that it and what it needs are modules rather than fixtures.
sys.path.insert(0, str(Path(__file__).parent))
