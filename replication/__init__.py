"""What makes a study a replication: recorded runs, metrics with intervals, verdicts, heat maps."""
