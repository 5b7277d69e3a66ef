"""Dzhulai et al. 2024: networks that detect the absence of lung sliding; optical flow by RAFT."""
