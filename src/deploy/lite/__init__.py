"""MindSpore Lite, where it is installed: its converter, and networks that it runs on the CPU.

Its Python module is for other versions of Python; two small C++ programs, compiled on first use, call it instead.
"""

from src.deploy.lite.lite_model import LiteModel
from src.deploy.lite.programs import convert_by_lite, require_lite

__all__ = ["LiteModel", "convert_by_lite", "require_lite"]
