"""Full runs, each in a process and a directory of its own, through as many calls as it takes."""

import csv
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from suite_pieces import Config, Run, Setting
from suite_processes import run_until
from suite_results import Results
from suite_walk import Budget, fastest


def train(run: Run, setting: Setting, flags: list[str], results: Results, budget: Budget) -> None:
    """Train a run, or resume it, until it or the call ends.

    Args:
        run: which.
        setting: what else it is made of.
        flags: where the data are.
        results: where to; the run's directory is beside them.
        budget: of the whole suite.
    """
    run_dir, log = results.out / run.name, results.out / f"{run.name}.log"
    config = fastest(run, setting, results)
    if run_dir.exists() and "config" in results.of(run):
        config = Config(**results.of(run)["config"])  # that of the run to be resumed
    command = [sys.executable, "-m", "tfsc.train", *run.flags, *flags, *setting.run_flags]
    command += [*config.flags(), f"--run_dir={run_dir.absolute()}"]
    begun = {"config": asdict(config), "command": command}
    seconds = budget.call_left() - setting.grace
    print(f"{budget.spent():5.0f} s  {run}: {config}", flush=True)
    results.add(run, status="running", **begun, trained=results.trained(run))
    started = time.monotonic()
    code, stopped = run_until(command, log, seconds, setting.grace)
    summary_path = run_dir / "summary.json"
    summary = json.loads(summary_path.read_text()) if summary_path.exists() else None
    status, error = (summary or {}).get("status", "failed"), ""
    if stopped:
        error = f"stopped after {seconds:.0f} s, when the call ended; the next goes on"
    elif code:
        error = f"exit code {code}: {log.read_text(errors='replace')[-500:].strip()}"
    epochs = _rows(run_dir / "metrics.csv")
    results.add(
        run,
        status=status,
        error=error,
        **begun,
        exit_code=code,
        seconds=round(time.monotonic() - started, 1),
        trained=int(epochs[-1]["step"]) / setting.steps if epochs else 0.0,
        summary=summary,
        epochs=epochs,
    )
    print(f"{budget.spent():5.0f} s  {run}: {status}{error and f', {error}'}", flush=True)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
