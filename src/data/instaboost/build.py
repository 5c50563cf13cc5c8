"""From the configuration to a transform."""

from src.common.errors import UserError
from src.data.instaboost.package import PackageInstaBoost
from src.data.instaboost.transform import InstaBoost
from src.schema.instaboost import InstaBoostKeys

BACKENDS: dict[str, type[InstaBoost] | type[PackageInstaBoost]] = {
    "native": InstaBoost,
    "instaboostfast": PackageInstaBoost,
}


def build_instaboost(config: InstaBoostKeys) -> InstaBoost | PackageInstaBoost | None:
    """The transform that the configuration asks for; None when its aug_prob is 0.

    Reads use_instaboost_fast, instaboost_backend, action_candidate, action_prob, scale, dx, dy, theta, color_prob,
    heatmap_flag and aug_prob.

    Raises:
        UserError: impossible values; backend instaboostfast without the package.
    """
    if not config.aug_prob:
        return None
    if config.instaboost_backend not in BACKENDS:
        raise UserError(f"instaboost_backend: {config.instaboost_backend!r} is none of {', '.join(BACKENDS)}")
    return BACKENDS[config.instaboost_backend](
        action_candidate=config.action_candidate,
        action_prob=config.action_prob,
        scale=config.scale,
        dx=config.dx,
        dy=config.dy,
        theta=config.theta,
        color_prob=config.color_prob,
        aug_prob=config.aug_prob,
        heatmap_flag=config.heatmap_flag,
        hard_edge=config.use_instaboost_fast,
    )
