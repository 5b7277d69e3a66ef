"""Kolárik, Sarnovský, Paralič 2023: 3D ResNets that detect lung sliding in ultrasound clips."""
