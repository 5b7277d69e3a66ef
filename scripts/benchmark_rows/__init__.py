"""The rows of scripts/benchmark.py, a file for each study and one for what they share."""
