"""InstaBoost (Fang et al., ICCV 2019, arXiv:1908.07801): instances are cut out, jittered and pasted back."""

from src.data.instaboost.build import build_instaboost
from src.data.instaboost.transform import InstaBoost

__all__ = ["InstaBoost", "build_instaboost"]
