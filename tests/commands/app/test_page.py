"""app.py's page in a browser: a file is chosen or dropped, the threshold moves, pictures and JSON are saved."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.visual.pictures import class_color
from tests.browser import browser_program
from tests.commands.app.running import Server, encoded, grey, running, truncated, write_clip
from tests.deploy.drawn_model import write_drawn_model
from tests.devtools import Page, open_page

STATUS = "document.getElementById('status').textContent"
NAMES = "[...document.querySelectorAll('#objects li')].map(item => item.textContent)"
SIZE = "(c => [c.height, c.width])(document.getElementById('picture'))"
PIXELS = "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])(document.getElementById('picture'))"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    browser_program()
    with running(write_drawn_model(tmp_path_factory.mktemp("page") / "drawn.onnx")) as server:
        yield server


@pytest.fixture
def page(server: Server, tmp_path: Path) -> Iterator[Page]:
    with open_page(server.address, tmp_path / "browser") as page:
        yield page


def pixels(page: Page) -> np.ndarray:
    """What the picture shows, int [H, W, 3] RGB."""
    return np.array(page.value(PIXELS)).reshape(*page.value(SIZE), 4)[..., :3]


def move(page: Page, slider: str, value: float) -> None:
    place = f"document.getElementById('{slider}')"
    page.value(f"{place}.value = {value}, {place}.dispatchEvent(new Event('input')), 0")


def test_an_image_is_shown_and_saved(page: Page, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "my street.png"
    path.write_bytes(encoded(grey(128, 240, 320)))
    page.choose_file("#file", path)
    page.wait_for(f"{STATUS} === 'my street.png: 2 of 2 objects'")
    assert page.value(NAMES) == ["box 0.90", "ball 0.50"]
    found = pixels(page)
    assert (found[5, 5] == 128).all()  # nothing there
    # The left half of the first object, x 80 to 160 and y 60 to 120, is its mask; its right half is not.
    tinted = 128 + (np.array(class_color(0)) - 128) * 115 / 255
    np.testing.assert_allclose(found[80, 120], tinted, atol=2)
    assert (found[80, 200] == 128).all()
    np.testing.assert_allclose(found[180:190, 160], [class_color(1)] * 10, atol=2)  # an edge of the second one

    move(page, "threshold", 0.6)
    assert page.value(NAMES) == ["box 0.90"] and page.value(STATUS) == "my street.png: 1 of 2 objects"
    assert (pixels(page)[180:190, 160] == 128).all()

    saved = page.download("#save-picture", tmp_path / "pictures")
    assert saved.name == "my street_found.png"
    np.testing.assert_array_equal(cv2.imread(str(saved), cv2.IMREAD_COLOR_RGB), pixels(page))
    saved = page.download("#save-json", tmp_path / "json")
    answer = server.post("/detect", path.read_bytes()).text
    assert saved.name == "my street.json" and answer in saved.read_text()
    assert json.loads(saved.read_text()) == {"my street.png": json.loads(answer)}


def test_a_clip_is_dropped_and_its_frames_are_shown(page: Page, server: Server, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", 8)
    page.drop_file("#drop", clip)
    page.wait_for(f"{STATUS} === 'clip.avi: 1 of 2 objects in frame 0 of 8'")
    first = pixels(page)
    move(page, "frame", 7)
    assert page.value(STATUS) == "clip.avi: 2 of 2 objects in frame 7 of 8"
    assert pixels(page)[5, 5].min() > first[5, 5].max() + 150
    page.value("document.getElementById('play').click()")
    page.wait_for(f"{STATUS}.includes('in frame 2 of 8')")
    saved = page.download("#save-json", tmp_path / "json")
    assert saved.name == "clip.jsonl"
    assert saved.read_text() == server.post("/detect_video", clip.read_bytes()).text


def test_what_is_wrong_is_told(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    page.choose_file("#file", tmp_path / "text.png")
    page.wait_for(f"{STATUS} === 'text.png: broken, truncated or not an image'")
    assert page.value("document.getElementById('save-json').disabled")
    clip = write_clip(tmp_path / "clip.avi", 8)
    clip.write_bytes(truncated(clip.read_bytes()))
    page.choose_file("#file", clip)
    page.wait_for(f"{STATUS}.endsWith('truncated: its header says 8 frames')")
