"""Chest radiographs: phantoms and the V-BreathNet study."""
