"""Which versions of MindSpore this runs on; docs/versions.md says what was tried with each."""

import re
from importlib import metadata

OLDEST, NEWEST = (2, 8), (2, 10)


def unsupported_mindspore() -> str:
    """A line about the installed MindSpore where it is none of OLDEST to NEWEST; empty where it is, or is not there."""
    try:
        version = metadata.version("mindspore")
    except metadata.PackageNotFoundError:
        return ""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or OLDEST <= (int(numbers[1]), int(numbers[2])) <= NEWEST:
        return ""
    known = " to ".join(".".join(map(str, one)) for one in (OLDEST, NEWEST))
    return (
        f"MindSpore {version} is none of the versions {known} that this runs on; bash scripts/setup_env.sh installs one"
    )
