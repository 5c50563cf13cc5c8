"""Heads that predict at every position of every level."""

from src.blocks.dense_heads.anchor_rows import anchor_rows
from src.blocks.dense_heads.multibox_head import MultiBoxHead
from src.blocks.dense_heads.proposal_generator import ProposalGenerator
from src.blocks.dense_heads.retina_sepbn_head import BranchOptions, RetinaSepBNHead
from src.blocks.dense_heads.rpn_head import RPNHead

__all__ = ["BranchOptions", "MultiBoxHead", "ProposalGenerator", "RPNHead", "RetinaSepBNHead", "anchor_rows"]
