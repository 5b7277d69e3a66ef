"""Lung sliding in ultrasound video: phantoms and two TensorFlow studies."""
