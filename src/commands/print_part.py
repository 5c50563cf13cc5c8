"""Parts of a web page on the terminal."""

from src.visual.web_page import Part

MOST_PRINTED = 8  # lines of a part


def print_part(part: Part) -> None:
    """Print the heading, the table and the first lines of a part that has any."""
    if not part.lines and not part.table:
        return
    print(f"\n{part.title}")
    if part.table:
        rows = [[str(one) for one in row] for row in part.table]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        for row in rows:
            cells = [
                row[0].ljust(widths[0]),
                *(one.rjust(width) for one, width in zip(row[1:], widths[1:], strict=True)),
            ]
            print(" " + "  ".join(cells))
    for line in part.lines[:MOST_PRINTED]:
        print(f" {line}")
    if len(part.lines) > MOST_PRINTED:
        print(f" ... and {len(part.lines) - MOST_PRINTED} more (the web page has them)")
