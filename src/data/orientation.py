"""Frames that turn: portrait images of a landscape frame, and the other way round."""


def lies_across(image_hw: tuple[int, int], frame_hw: tuple[int, int] | None) -> bool:
    """Whether one of them is wider than high and the other higher than wide: the image wants the frame turned.

    Args:
        image_hw: height and width of the image.
        frame_hw: height and width of the frame; None: it never turns.
    """
    if frame_hw is None:
        return False
    return (image_hw[0] - image_hw[1]) * (frame_hw[0] - frame_hw[1]) < 0


def oriented(frame_hw: tuple[int, int], turned: bool) -> tuple[int, int]:
    """Height and width of a frame, or of the same frame turned by 90 degrees."""
    return (frame_hw[1], frame_hw[0]) if turned else frame_hw
