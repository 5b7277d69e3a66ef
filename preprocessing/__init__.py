"""What turns image and video files into arrays. NumPy, SciPy and OpenCV only, no Keras."""
