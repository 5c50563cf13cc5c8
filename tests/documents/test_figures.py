"""Figures that docs/deployment.md repeats are those of BENCHMARKS.md."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARKS = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
DEPLOYMENT = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")

Table = list[list[str]]


def tables_of(text: str) -> list[Table]:
    """Its tables: the cells of each row, the one of the headings first, without the line below that."""
    found = re.findall(r"^\|.*\|\n\|[-|]+\|\n(?:\|.*\|\n)+", text, re.MULTILINE)
    rows = [[line.strip("|").split("|") for line in table.splitlines()] for table in found]
    return [[[cell.strip() for cell in row] for row in [table[0], *table[2:]]] for table in rows]


def section(heading: str) -> list[Table]:
    """The tables below a heading of BENCHMARKS.md, up to the next one."""
    (text,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#)", BENCHMARKS, re.DOTALL | re.MULTILINE)
    return tables_of(text)


def table_with(*headings: str) -> Table:
    """The one table of docs/deployment.md that has these headings."""
    (found,) = [table for table in tables_of(DEPLOYMENT) if set(headings) <= set(table[0])]
    return found


def test_seconds_in_every_runtime() -> None:
    (_, *runtimes), *networks = section("The networks in every runtime")[0]
    seconds = {
        (runtime, network.split(",")[0]): cell.split(" s")[0]
        for network, *cells in networks
        for runtime, cell in zip(runtimes, cells, strict=True)
    }
    network = ""
    for name, threads, _, lite, _ in section("MindSpore Lite")[0][1:]:
        network = name.split(",")[0] or network
        if threads == "2":
            seconds["MindSpore Lite 2.0", network] = lite.split(" s")[0]
    (_, _, *names), *rows = table_with("runs in", "`retinanet_r50_nasfpn_640`")
    found = {(row[1], name): cell for row in rows for name, cell in zip(names, row[2:], strict=True)}
    assert found.pop(("MindSpore Lite 2.0", "`cascade_mask_rcnn_r50_fpn`")) == "not timed"
    assert found == seconds


def test_share_of_onnx_runtimes_time_in_lite() -> None:
    ratios = [row[-1] for row in section("MindSpore Lite")[0][1:] if row[1] == "2"]
    mask_rcnn, nas_fpn, spinenet, refinedet = ratios
    assert f"for {nas_fpn}, {spinenet}, {refinedet} and {mask_rcnn} of its time" in DEPLOYMENT


def test_milliseconds_of_precisions() -> None:
    (_, *settings), *rows = table_with("OpenVINO, bfloat16", "OpenVINO, int8")
    for row, table in zip(rows, section("Precisions"), strict=True):
        measured = {setting: (ms, share) for setting, ms, share, *_ in table[1:]}
        for setting, cell in zip(settings, row[1:], strict=True):
            ms, share = measured[setting]
            assert cell == (ms if share == "1.00" else f"{ms} ({share})"), (row[0], setting)


def test_what_views_and_soft_suppression_gain() -> None:
    ap = {keys: float(value) for keys, value in section("Views and soft-NMS")[0][1:]}
    gain = {keys: f"{value - ap['none']:.3f}" for keys, value in ap.items()}
    text = " ".join(DEPLOYMENT.split())
    assert f"{gain['`--tta flip`']} of AP with `--tta flip`, {gain['`--tta flip --merge wbf`']} with `--merge" in text
    assert f"`soft_gaussian` is worth {gain['`--test_cfg.suppression soft_gaussian`']} of AP" in text


def test_what_int8_and_bfloat16_lose() -> None:
    """At most what docs/deployment.md says, of boxes and of masks."""
    (found,) = re.findall(r"int8 loses at most ([\d.]+) of AP,\s+and bfloat16 as much", DEPLOYMENT)
    losses = []
    for _, float32, _, bfloat16, int8, _ in section("AP of int8 and bfloat16")[0][1:]:
        for cell in (bfloat16, int8):
            pairs = zip(float32.split(", "), cell.split(", "), strict=True)
            losses += [round(float(before) - float(after), 3) for before, after in pairs]
    assert max(losses) == float(found)
