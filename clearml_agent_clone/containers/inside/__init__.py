"""What runs inside of containers, by whatever Python the image has: files of their own, of Python 3.6 and its library."""
