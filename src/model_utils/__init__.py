"""Where a program runs: devices, launchers, ModelArts, rank tables."""
