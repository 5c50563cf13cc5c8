"""Which prior box answers for which object."""

from src.blocks.assigners_samplers.grid_matcher import GridMatcher
from src.blocks.assigners_samplers.max_iou_assigner import MaxIoUAssigner
from src.blocks.assigners_samplers.pairwise_matcher import PairwiseMatcher
from src.blocks.assigners_samplers.pseudo_sampler import PseudoSampler

__all__ = ["GridMatcher", "MaxIoUAssigner", "PairwiseMatcher", "PseudoSampler"]
