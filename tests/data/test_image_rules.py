"""Images that cost too much, never end, or are damaged."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import pytest

from src.common.errors import UserError
from src.data.builders import build_train_loader
from src.data.image import ImageError, ImageRules, load_image
from src.data.image_size import image_size
from src.data.mindrecord.manifest import read_manifest
from tests.conftest import ROOT
from tests.data.coco_files import noise_image, write_dataset
from tests.data.test_loader import make_config


def png(path: Path, width: int, height: int) -> Path:
    """A black PNG of any size in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    row = bytes(1 + (width + 7) // 8)
    rows = zlib.compressobj()
    content = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b""))
    return path


DECODE = """
import sys
from pathlib import Path
from src.data.image import ImageError, load_image
try:
    load_image(sys.argv[1])
except ImageError as error:
    print(error)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = png(tmp_path / "bomb.png", 20_000, 20_000)
    done = subprocess.run([sys.executable, "-c", DECODE, str(path)], cwd=ROOT, capture_output=True, text=True)
    message, megabytes = done.stdout.splitlines()
    assert (
        message.startswith(f"{path}: has 20000x20000 pixels, over max_image_pixels 100000000") and int(megabytes) < 300
    )


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
def test_the_size_of_every_kind_is_seen(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imencode(suffix, noise_image(40, 60))[1].tofile(path)
    with pytest.raises(ImageError, match="has 60x40 pixels, over max_image_pixels 2399"):
        load_image(path, rules=ImageRules(max_pixels=2399))


def test_the_limit_is_a_key(tmp_path):
    path = png(tmp_path / "a.png", 300, 200)
    assert load_image(path, rules=ImageRules(max_pixels=60_000)).shape == (200, 300, 3)
    with pytest.raises(ImageError, match=r"a\.png: has 300x200 pixels, over max_image_pixels 59999"):
        load_image(path, rules=ImageRules(max_pixels=59_999))
    config = make_config(write_dataset(tmp_path / "data"), max_image_pixels=2399)
    with pytest.raises(UserError, match=r"\.png: has 60x40 pixels, over max_image_pixels 2399.*skip_broken"):
        list(build_train_loader(config).epoch(0))
    processes = config.model_copy(update={"num_parallel_workers": 1, "python_multiprocessing": True})
    loader = build_train_loader(processes)
    with pytest.raises(UserError, match="over max_image_pixels 2399"):
        list(loader.epoch(0))
    loader.close()


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match=r"sparse\.png: a file of 1099511627776 bytes"):
        load_image(path)


def test_a_part_of_a_png_that_is_longer_than_the_file(tmp_path):
    """OpenCV took a gigabyte for it."""
    path = png(tmp_path / "a.png", 300, 200)
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT") - 4
    content[place : place + 4] = (900_000_000).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png: broken or truncated: a part of it is longer than the file"):
        load_image(path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", [load_image, image_size])
def test_only_regular_files_are_read(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (str(tmp_path / "pipe.jpg"), "/dev/zero", str(tmp_path)):
        with pytest.raises(ImageError, match=rf"{path}: is no regular file|{path}: Is a directory"):
            read(path)


def damaged_jpeg(path: Path) -> Path:
    """A JPEG with flipped bits that decodes, with libjpeg's warning."""
    encoded = cv2.imencode(".jpg", noise_image(120, 160))[1].ravel()
    encoded[len(encoded) // 2 : len(encoded) // 2 + 40] ^= 0x55
    encoded.tofile(path)
    return path


def test_a_damaged_jpeg_is_named_once_and_refused_where_images_are_strict(tmp_path, caplog, capfd):
    path = damaged_jpeg(tmp_path / "flipped.jpg")
    whole = tmp_path / "whole.jpg"
    cv2.imencode(".jpg", noise_image(120, 160))[1].tofile(whole)
    for _ in range(3):
        assert load_image(path).shape == (120, 160, 3)
    assert [line for line in caplog.messages if "flipped.jpg: damaged (Corrupt JPEG data: " in line] == caplog.messages
    assert len(caplog.messages) == 1
    with pytest.raises(ImageError, match=r"flipped\.jpg: damaged \(Corrupt JPEG data: "):
        load_image(path, rules=ImageRules(strict=True))
    assert load_image(whole, rules=ImageRules(strict=True)).shape == (120, 160, 3)
    assert "Corrupt" not in capfd.readouterr().err


def test_threads_name_the_file_that_they_decode(tmp_path, caplog):
    from concurrent.futures import ThreadPoolExecutor

    paths = []
    for number in range(40):
        path = tmp_path / f"{number}.jpg"
        paths.append(damaged_jpeg(path) if number % 4 == 0 else path)
        if number % 4:
            cv2.imencode(".jpg", noise_image(120, 160, number))[1].tofile(path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load_image, paths))
    named = {Path(line.split(": damaged")[0]).name for line in caplog.messages}
    assert named == {f"{number}.jpg" for number in range(0, 40, 4)}


def test_strict_images_in_training_and_in_create_data(tmp_path):
    from src.data.mindrecord.create import create_mindrecord

    root = write_dataset(tmp_path / "data", height=120, width=160, file_name="{:03d}.jpg")
    damaged_jpeg(root / "data" / "002.jpg")
    config = make_config(root, strict_images=True, mindrecord_dir=str(tmp_path / "packed"))
    with pytest.raises(UserError, match=r"002\.jpg: damaged \(Corrupt JPEG data.*skip_broken"):
        list(build_train_loader(config.model_copy(update={"mindrecord_dir": ""})).epoch(0))
    left_out = read_manifest(create_mindrecord(config)).left_out
    assert [Path(one.path).name for one in left_out] == ["002.jpg"]


def test_strict_images_need_a_compiler(tmp_path, monkeypatch):
    from src.data import image

    def no_compiler(target: str) -> Path:
        raise UserError("no C++ compiler")

    path = damaged_jpeg(tmp_path / "flipped.jpg")
    monkeypatch.setattr(image, "library", no_compiler)
    image._messages_library.cache_clear()
    try:
        assert load_image(path).shape == (120, 160, 3)
        with pytest.raises(UserError, match=r"strict_images: no C\+\+ compiler"):
            load_image(path, rules=ImageRules(strict=True))
    finally:
        image._messages_library.cache_clear()
