"""Backbones as configurations see them: keys, channels, strides and checks, a file each, and the table of them."""
