"""What a library writes to stderr while it decodes an image, thread by thread."""

from src.ops.decoder_messages.decoder_messages import TARGET, DecoderMessages

__all__ = ["TARGET", "DecoderMessages"]
