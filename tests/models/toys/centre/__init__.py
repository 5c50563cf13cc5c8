"""A detector of a few lines: each cell of a grid predicts the box whose centre lies in it."""
