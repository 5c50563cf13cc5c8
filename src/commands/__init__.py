"""What each program does. The top layer: it may import everything, nothing imports it."""
