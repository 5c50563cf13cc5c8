"""Which prior box answers for which object, and which of them train."""

from src.blocks.assigners_samplers.grid_matcher import GridMatcher
from src.blocks.assigners_samplers.hard_negatives import hard_negatives
from src.blocks.assigners_samplers.max_iou_assigner import AssignerOptions, MaxIoUAssigner
from src.blocks.assigners_samplers.pairwise_matcher import PairwiseMatcher
from src.blocks.assigners_samplers.pseudo_sampler import PseudoSampler
from src.blocks.assigners_samplers.random_sampler import RandomSampler, SamplerOptions
from src.blocks.assigners_samplers.rcnn_targets import RCNNTargets, RoITargets
from src.blocks.assigners_samplers.rpn_targets import AnchorTargets, RPNTargets

__all__ = [
    "AnchorTargets",
    "AssignerOptions",
    "GridMatcher",
    "MaxIoUAssigner",
    "PairwiseMatcher",
    "PseudoSampler",
    "RCNNTargets",
    "RPNTargets",
    "RandomSampler",
    "RoITargets",
    "SamplerOptions",
    "hard_negatives",
]
