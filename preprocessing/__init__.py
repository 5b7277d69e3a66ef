"""What turns image and video files into arrays. No Keras; only the marking tool draws."""
