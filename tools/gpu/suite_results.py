"""What the suite knows, on disk after each piece, and as tables."""

import json
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import measure
from suite_pieces import Config, Run

COLUMNS = {
    "images_per_second": "images/s",
    "step_ms": "ms a step",
    "train_seconds_per_epoch": "s an epoch",
    "compile_seconds": "compilation s",
    "utilization": "utilisation",
    "joules_per_1000_images": "J per 1,000 images",
    "peak_gpu_mib": "peak GPU MiB",
}
RUN_COLUMNS = {
    "epoch": "epoch",
    "val_accuracy": "validation accuracy",
    "total_seconds": "s in all",
    "train_seconds": "s training",
    "images_per_second": "images/s",
    "gpu_utilization": "utilisation",
    "joules": "J",
}


class Results:
    """What is known, on disk after each change.

    Args:
        out: directory of results.json and table.md; what an earlier call measured is kept.
        setting: its name.
        flags: of every recipe.
    """

    def __init__(self, out: Path, setting: str, flags: list[str]):
        self.out = out
        self.content: dict[str, Any] = {
            "setting": setting,
            "flags": flags,
            "steps": [],
            "runs": {},
        }
        path = out / "results.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if (before.get("setting"), before.get("flags")) == (setting, flags):
            self.content = before
            self.content.pop("error", None)

    def update(self, **content: Any) -> None:
        self.content |= {
            "command": ["python", *sys.argv],
            "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **content,
        }
        measure.write_json(self.out / "results.json", self.content)
        (self.out / "table.md").write_text(self.table() + "\n", encoding="utf-8")

    def of(self, piece: Config | Run) -> dict[str, Any]:
        """What is known of a piece; empty: nothing."""
        if isinstance(piece, Run):
            return self.content["runs"].get(piece.name, {})
        mine = asdict(piece)
        rows = self.content["steps"]
        return next((row for row in rows if mine.items() <= row.items()), {})

    def add(self, piece: Config | Run, **figures: Any) -> None:
        """Record a piece, in place of what was known of it."""
        if isinstance(piece, Run):
            self.update(runs={**self.content["runs"], piece.name: figures})
            return
        rows = [row for row in self.content["steps"] if row is not self.of(piece)]
        self.update(steps=[*rows, {**asdict(piece), **figures}])

    def skip(self, piece: Config | Run, reason: str) -> None:
        """Record that there was no time for a piece; what is known of an earlier try stays."""
        if self.of(piece).get("status", "skipped") == "skipped":
            self.add(piece, status="skipped", error=reason)

    def is_done(self, piece: Config | Run) -> bool:
        return self.of(piece).get("status") in ("ok", "done", "diverged")

    def has_failed(self, piece: Config | Run) -> bool:
        return self.of(piece).get("status") == "failed"

    def trained(self, run: Run) -> float:
        """The share of a run's steps that is behind it, 0–1."""
        return self.of(run).get("trained", 0.0)

    def good(self) -> list[dict[str, Any]]:
        """Configurations that were timed."""
        return [row for row in self.content["steps"] if row["status"] == "ok"]

    def measured_anything(self) -> bool:
        return bool(self.good() or any(run.get("epochs") for run in self.content["runs"].values()))

    def table(self) -> str:
        """What was measured, as Markdown."""
        machine = self.content.get("machine", {})
        device = machine.get("device", {})
        lines = [f"{', '.join(device.get('gpus') or [device.get('cpu', 'nothing measured')])}"]
        if packages := machine.get("packages"):
            lines[0] += "; " + ", ".join(f"{name} {number}" for name, number in packages.items())
        if machine.get("not_measured"):
            lines.append(f"No joules, no utilisation: {machine['not_measured']}.")
        names = [field.name for field in fields(Config)]
        rows = [
            [
                *(row[name] for name in names),
                *(cell(row.get(name)) for name in COLUMNS),
                _said(row) if "error" in row else "",
            ]
            for row in self.content["steps"]
        ]
        lines.append(measure.markdown([*names, *COLUMNS.values(), ""], rows))
        if runs := self.content["runs"]:
            rows = [[name, *_run_cells(run)] for name, run in runs.items()]
            lines.append(measure.markdown(["run", *RUN_COLUMNS.values(), "computed", ""], rows))
        if error := self.content.get("error"):
            lines.append(error)
        return "\n\n".join(lines)


def _run_cells(run: dict[str, Any]) -> list[str]:
    summary = run.get("summary") or {}
    seconds = summary.get("seconds", {})
    figures = {
        **summary,
        **(summary.get("final") or {}),
        **{f"{name}_seconds": number for name, number in seconds.items()},
    }
    computed = str(Config(**run["config"])) if "config" in run else ""
    return [*(cell(figures.get(name), 4) for name in RUN_COLUMNS), computed, _said(run)]


def cell(value: float | None, digits: int = 3) -> str:
    """So many digits, but no exponent."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _said(piece: dict[str, Any]) -> str:
    """How a piece ended, for a cell of a table."""
    words = ": ".join(filter(None, [piece["status"], piece.get("error")]))
    return " ".join(words.replace("|", "/").split())[:160]
