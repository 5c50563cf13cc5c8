"""Result files are whole, and what is not is said in one line."""

from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.deploy.export_card import Port
from src.deploy.result_files import (
    read_results,
    remove_earlier_results,
    result_paths,
    write_results,
    write_times,
)

RAW = [Port(name="boxes", shape=[1, 5, 4]), Port(name="scores", shape=[1, 5, 3])]
BOXES = np.arange(20, dtype=np.float32).reshape(5, 4)
SCORES = np.arange(15, dtype=np.float32).reshape(5, 3) / 20


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_results(tmp_path / "new", "any/000.v1.jpg", [BOXES, SCORES.astype(np.float64)])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["000.v1_0.bin", "000.v1_1.bin"]
    boxes, scores = read_results(tmp_path / "new", "000.v1.png", RAW)
    assert boxes.dtype == scores.dtype == np.float32
    np.testing.assert_array_equal(boxes, BOXES)
    np.testing.assert_array_equal(scores, SCORES)
    assert (tmp_path / "new/000.v1_0.bin").read_bytes() == BOXES.tobytes()


def test_types_of_detections(tmp_path: Path) -> None:
    """Labels are int32, truth values bytes; a file is as long as its type and shape say."""
    outputs = [BOXES, SCORES[:, 0], np.arange(5, dtype=np.int32), np.arange(5) < 3, np.full((5, 28, 28), 0.25)]
    shapes = [[-1, *values.shape[1:]] for values in (value[None] for value in outputs)]
    dtypes = ("float32", "float32", "int32", "bool", "float32")
    ports = [Port(name=dtype, shape=shape, dtype=dtype) for dtype, shape in zip(dtypes, shapes, strict=True)]
    write_results(tmp_path, "a.jpg", outputs)
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == [80, 20, 20, 5, 15680]
    for found, expected, dtype in zip(read_results(tmp_path, "a.jpg", ports), outputs, dtypes, strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
    remove_earlier_results(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_image_without_files(tmp_path: Path) -> None:
    assert read_results(tmp_path, "a.jpg", RAW) is None


@pytest.mark.parametrize("index", [0, 1])
def test_one_of_the_two_files(tmp_path: Path, index: int) -> None:
    write_results(tmp_path, "a.jpg", [BOXES, SCORES])
    result_paths(tmp_path, "a.jpg")[index].unlink()
    with pytest.raises(UserError, match=rf"a_{index}\.bin is missing, other files of a\.jpg are there"):
        read_results(tmp_path, "a.jpg", RAW)


@pytest.mark.parametrize(("bytes_more", "word"), [(-4, "truncated"), (-60, "truncated"), (4, "of another network")])
def test_a_file_of_another_size(tmp_path: Path, bytes_more: int, word: str) -> None:
    write_results(tmp_path, "a.jpg", [BOXES, SCORES])
    path = result_paths(tmp_path, "a.jpg")[1]
    path.write_bytes((path.read_bytes() + b"more")[: 60 + bytes_more])
    with pytest.raises(
        UserError, match=rf"a_1\.bin: {word}: it has {60 + bytes_more} bytes, float32 \[5, 3\] takes 60"
    ):
        read_results(tmp_path, "a.jpg", RAW)


def test_only_result_files_are_removed(tmp_path: Path) -> None:
    write_results(tmp_path, "a.jpg", [BOXES, SCORES])
    (tmp_path / "notes.bin").write_text("mine")
    remove_earlier_results(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.bin"]
    remove_earlier_results(tmp_path / "none")


def test_times_read_as_those_of_the_program(tmp_path: Path) -> None:
    line = write_times(tmp_path, [5.0, 10.0])
    assert line == "NN inference cost average time: 7.5 ms of infer_count 2\n"
    assert (tmp_path / "time_Result/test_perform_static.txt").read_text() == line
