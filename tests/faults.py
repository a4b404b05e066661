"""The table of docs/reliability.md: a row for each fault a test has tried, with what happened.

The tests own the rows. A plain test run checks each row it meets against the document;
`pytest --write-faults` replaces the table by the rows of that run.
"""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: written by the tests -->", "<!-- end of faults -->"
# In the order in which the document shows them.
AREAS = ("kill -9", "storage", "numbers", "data", "bad input", "security", "sameness")


def row(area: str, tried: str, happened: str, base: Path) -> str:
    """A line of the table. Temporary paths and digests become placeholders."""
    if area not in AREAS:
        raise ValueError(f"area must be one of {', '.join(AREAS)}. Received: {area}")
    cells = [area, tried, _plain(happened, base)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str, base: Path) -> str:
    text = re.sub(rf"{re.escape(str(base))}/[\w.-]+/", "", text)
    text = re.sub(r"\b(step-\d{8})-[0-9a-f]{8}\b", r"\1-…", text)
    return " ".join(text.split())


def rows(document: str) -> list[str]:
    """The rows of the table in the document's text."""
    table = document.partition(BEGIN)[2].partition(END)[0]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def replaced(document: str, found: list[str]) -> str:
    """The document with its table replaced, rows in order of area, then of the alphabet."""
    head, _, rest = document.partition(BEGIN)
    tail = rest.partition(END)[2]
    # Not of the tests: several processes may run them.
    ordered = sorted(set(found), key=lambda line: (AREAS.index(line.split(" | ")[0][2:]), line))
    table = "\n".join(["| area | fault | what happened |", "|---|---|---|", *ordered])
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}"
