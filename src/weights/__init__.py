"""Checkpoints, pretrained backbones, and the conversion of published weights."""

from src.weights.checkpoint import load_checkpoint_weights, load_weights, save_weights
from src.weights.convert import convert_weights

__all__ = ["convert_weights", "load_checkpoint_weights", "load_weights", "save_weights"]
