"""Chest CT: phantoms and the CNR-IEMN study."""
