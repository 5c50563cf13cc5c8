"""Size of an image from its header, for annotations that do not say it."""

from PIL import ExifTags, Image

from src.data.image import load_image, open_regular

_SIDEWAYS = range(5, 9)  # EXIF orientations that turn the image by 90 degrees


def image_size(path: str) -> tuple[int, int]:
    """(height, width) in pixels, upright as EXIF says and as `load_image` gives it; decodes nothing where it can.

    Raises:
        ImageError: missing, or not an image.
    """
    try:
        with open_regular(path) as file, Image.open(file) as image:
            width, height = image.size
            sideways = image.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, OverflowError):
        height, width = load_image(path).shape[:2]  # knows other formats, or says what is wrong
        return height, width
    return (width, height) if sideways else (height, width)
