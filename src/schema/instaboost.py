"""Keys of InstaBoost (arXiv:1908.07801), an augmentation for detectors that learn masks."""

from typing import Annotated, Literal

from pydantic import Field

from src.schema.sections import Fraction, Positive, Section, key

Range = Annotated[list[Annotated[float, Field(ge=-1000, le=1000)]], Field(min_length=2, max_length=2)]


class InstaBoostKeys(Section):
    """What a detector's configuration inherits so that its training images can be augmented with InstaBoost."""

    use_instaboost_fast: bool = key(
        True, "native: True pastes with a hard edge, as the package instaboostfast does, False blends the edge"
    )
    instaboost_backend: Literal["native", "instaboostfast"] = key(
        "native", "this project's InstaBoost, or the optional package instaboostfast"
    )
    action_candidate: list[Literal["normal", "horizontal", "vertical", "skip"]] = key(
        ["normal", "horizontal", "skip"],
        "what may happen to an instance: jitter, jitter and flip, nothing",
        min_length=1,
    )
    action_prob: list[Fraction] = key([1, 0, 0], "their probabilities", min_length=1)
    scale: Range = key([0.8, 1.2], "least and greatest factor on the size of a group of overlapping instances")
    dx: Positive = key(15, "greatest shift along x is the instance's width / dx")
    dy: Positive = key(15, "greatest shift along y is the instance's height / dy")
    theta: Range = key([-1, 1], "least and greatest rotation in degrees")
    color_prob: Fraction = key(0.5, "probability of a colour change of the image")
    heatmap_flag: bool = key(False, "draw the shift from the appearance-consistency map")
    aug_prob: Fraction = key(0.5, "probability of InstaBoost for an image; 0: off")

    @property
    def instaboost_choice(self) -> str:
        """What instaboost_backend and use_instaboost_fast choose, in words."""
        if self.instaboost_backend == "instaboostfast":
            return "the package instaboostfast, which pastes with a hard edge whatever use_instaboost_fast is"
        edge = "pastes with a hard edge" if self.use_instaboost_fast else "blends the edge"
        return f"use_instaboost_fast {self.use_instaboost_fast} {edge} (instaboost_backend native, not the package)"
