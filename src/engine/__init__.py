"""Training: step, schedule, optimizer, checkpoints, distributed start."""
