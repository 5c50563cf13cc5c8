"""Arrays in a file: what comes back, and what is refused."""

import os

import numpy as np
import pytest

from src.common.array_file import ArrayFileError, map_arrays, write_arrays

ARRAYS = {
    "boxes": np.arange(12, dtype=np.float32).reshape(3, 4),
    "none": np.zeros((0, 4), np.float32),
    "flags": np.array([True, False, True]),
    "ids": np.array([2**62, -1]),
    "every other": np.arange(10, dtype=np.int32)[::2],
}


def test_arrays_come_back_mapped_and_read_only(tmp_path):
    write_arrays(tmp_path / "a.arrays", ARRAYS, {"name": "é", "strays": [1, None]})
    arrays, facts = map_arrays(tmp_path / "a.arrays")
    assert facts == {"name": "é", "strays": [1, None]} and list(arrays) == list(ARRAYS)
    for name, expected in ARRAYS.items():
        found = arrays[name]
        assert found.dtype == expected.dtype and found.shape == expected.shape and (found == expected).all()
        assert not found.flags.writeable and not found.flags.owndata


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b"", "cut off"),
        (lambda b: b[:-1], "bytes instead of"),
        (lambda b: b"x" + b[1:], "another kind"),
        (lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:], "altered"),
        (lambda b: b[:-1] + bytes([b[-1] ^ 1]), "altered"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, reason):
    path = tmp_path / "a.arrays"
    write_arrays(path, ARRAYS, None)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ArrayFileError, match=reason):
        map_arrays(path)


def test_links_and_files_of_others_are_refused(tmp_path, monkeypatch):
    write_arrays(tmp_path / "a.arrays", ARRAYS, None)
    (tmp_path / "b.arrays").symlink_to(tmp_path / "a.arrays")
    with pytest.raises(ArrayFileError, match="symbolic link"):
        map_arrays(tmp_path / "b.arrays")
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(ArrayFileError, match="another user"):
        map_arrays(tmp_path / "a.arrays")
    with pytest.raises(FileNotFoundError):
        map_arrays(tmp_path / "none.arrays")
