"""Folders for files in the making go with their writer, or after it."""

import subprocess
import sys
from pathlib import Path

from src.common.leftovers import remove_leftovers, writing_folder


def test_what_a_killed_process_was_writing_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    code = f"""
import pathlib, time
from src.common.atomic import atomic_path
from src.common.leftovers import writing_folder
folder = pathlib.Path({str(tmp_path)!r})
with writing_folder(folder) as made, atomic_path(folder / "curves.png"):
    (made / "weights.ckpt").write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "begun\n"
    living = {path.name for path in tmp_path.iterdir()}
    assert len(living) == 2
    (tmp_path / ".writing_before_locks").mkdir()
    (tmp_path / ".writing_half.png").touch()
    (tmp_path / ".mine").touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*living, ".mine"}
    writer.kill()
    writer.communicate()
    with writing_folder(tmp_path) as made:  # the next one clears, too
        assert {path.name for path in tmp_path.iterdir()} == {made.name, ".mine"}
    assert [path.name for path in tmp_path.iterdir()] == [".mine"]
