"""Training: the loop, its step, schedules, optimizers and the log of a run."""

from src.engine.optimizer import build_optimizer
from src.engine.train_step import Updater

__all__ = ["Updater", "build_optimizer"]
