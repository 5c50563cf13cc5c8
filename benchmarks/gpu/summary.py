"""The table of a folder that run_all.sh wrote, and the same as results.json."""

import json
import sys
from pathlib import Path

ENDS = {0: "done", 124: "took too long", 137: "took too long"}


def read_steps(folder: Path) -> list[dict]:
    """Name, end, seconds and what was reported ('@' and JSON) of each step."""
    steps = []
    for line in (folder / "steps.tsv").read_text(encoding="utf-8").splitlines():
        name, status, seconds = line.split("\t")
        log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        found = [json.loads(text[1:]) for text in log if text.startswith("@{")]
        end = ENDS.get(int(status), f"failed ({status})")
        last = "" if int(status) == 0 or not log else log[-1][:120]
        steps.append(
            {"step": name, "end": end, "seconds": int(seconds), "found": found[-1] if found else {}, "last": last}
        )
    return steps


def main() -> None:
    """Write results.json, print a line per step."""
    folder = Path(sys.argv[1])
    steps = read_steps(folder)
    (folder / "results.json").write_text(json.dumps(steps, indent=1), encoding="utf-8")
    print(f"{'step':<36}{'end':<16}{'s':>6}  found")
    for step in steps:
        found = ", ".join(f"{name} {value}" for name, value in step["found"].items())
        print(f"{step['step']:<36}{step['end']:<16}{step['seconds']:>6}  {found or step['last']}")


if __name__ == "__main__":
    main()
