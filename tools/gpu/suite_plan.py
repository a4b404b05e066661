"""What the suite would do when, and what has to be brought there before: estimates."""

import json
from dataclasses import dataclass
from pathlib import Path

import measure
from suite_pieces import Config, Run, Setting
from suite_results import Results
from suite_walk import Budget, Needs, walk

MIB = 2**20
# Guesses, until a loan has shown better.
BETWEEN_CALLS = 10.0  # seconds from the end of a call to the work of the next
UPLOAD_MIB_S = 10.0
UNPACK_MIB_S = 20.0  # of packed bytes: 19 were measured on two cores (docs/offline.md)


@dataclass(frozen=True)
class Line:
    """A row of the plan.

    Attributes:
        call: its number; several where a piece takes a call each.
        what: a piece.
        seconds: that it is thought to take.
        until: seconds from the beginning of the plan to its end.
        mib_in: what is brought there for it.
        mib_out: what it leaves on disk there.
    """

    call: str
    what: str
    seconds: float
    until: float
    mib_in: float = 0.0
    mib_out: float = 0.0


class Imagined:
    """Results as they would be; figures are those that are known."""

    def __init__(self, results: Results):
        self._results = results
        self._done: set[Config | Run] = set()
        self._trained: dict[Run, float] = {}
        self.good, self.has_failed = results.good, results.has_failed

    def is_done(self, piece: Config | Run) -> bool:
        return piece in self._done or self._results.is_done(piece)

    def trained(self, run: Run) -> float:
        return self._trained.get(run, self._results.trained(run))

    def add(self, piece: Config | Run, share: float) -> None:
        """A piece has been worked on: this share of what was left of it is done."""
        if share >= 1:
            self._done.add(piece)
        elif isinstance(piece, Run):
            self._trained[piece] = 1 - (1 - self.trained(piece)) * (1 - share)


class Plan:
    """The suite's calls one after the other, as far as time goes.

    Args:
        setting: the pieces.
        results: what is known.
        seconds: that there are in all.
        call_seconds: of one call.
        pack: MiB of the pieces of a pack that is brought there first, one a call.

    Attributes:
        lines: what is done, in order.
        left: what is not, and why.
    """

    def __init__(
        self,
        setting: Setting,
        results: Results,
        seconds: float,
        call_seconds: float,
        pack: list[float] | None = None,
    ):
        self.lines: list[Line] = []
        self.left: dict[Config | Run, str] = {}
        self._setting, self._known = setting, Imagined(results)
        self._now, self._call = 0.0, 0
        self._budget = Budget(seconds, call_seconds, clock=lambda: self._now)
        if pack:
            self._bring(pack)
        while self._one_call():
            pass

    def _bring(self, pack: list[float]) -> None:
        total = sum(pack)
        seconds = len(pack) * BETWEEN_CALLS + total / UPLOAD_MIB_S
        self._call = len(pack)
        what = f"bring {len(pack)} pieces of the pack, at most {max(pack):.1f} MiB each"
        self._add(f"1–{self._call}" if self._call > 1 else "1", what, seconds, mib_in=total)
        self._begin_call()
        self._add(str(self._call), "unpack", total / UNPACK_MIB_S)

    def _one_call(self) -> bool:
        """Plan a call; whether anything is done in it."""
        before = len(self.lines)
        self._begin_call()
        self.left = {}
        walk(self._setting, self._known, self._budget, self._do, self.left.__setitem__)
        return len(self.lines) > before

    def _begin_call(self) -> None:
        if self._call:
            self._now += BETWEEN_CALLS
        self._call += 1
        self._budget.next_call()

    def _do(self, piece: Config | Run, needs: Needs) -> None:
        available = self._budget.call_left() - needs.reserve
        share, seconds = 1.0, needs.whole
        if seconds > available:  # the call interrupts it
            share = (available - needs.start) / (needs.whole - needs.start)
            seconds = available + needs.reserve
        self._known.add(piece, share)
        what = str(piece) if share == 1 else f"{piece}, {share:.0%} of what is left of it"
        mib = self._setting.run_mib if isinstance(piece, Run) else 0.0
        self._add(str(self._call), what, seconds, mib_out=mib)

    def _add(self, call: str, what: str, seconds: float, **mib: float) -> None:
        self._now += seconds
        self.lines.append(Line(call, what, seconds, self._now, **mib))

    def table(self) -> str:
        """The plan as Markdown."""
        header = ["call", "piece", "minutes", "until minute", "MiB brought", "MiB left on disk"]
        rows = [
            [
                *(line.call, line.what, f"{line.seconds / 60:.1f}", f"{line.until / 60:.1f}"),
                *(f"{mib:.1f}" if mib else "–" for mib in (line.mib_in, line.mib_out)),
            ]
            for line in self.lines
        ]
        parts = [
            measure.markdown(header, rows),
            "Minutes are estimates: by what its like has taken where that is known, else guessed. "
            f"Between two calls: {BETWEEN_CALLS:.0f} s.",
        ]
        if self.left:
            left = "\n".join(f"- {piece}: {reason}" for piece, reason in self.left.items())
            parts.append(f"Not done:\n\n{left}")
        return "\n\n".join(parts)


def read_pack(directory: Path, most_mib: float) -> list[float]:
    """MiB of each piece of a pack.

    Raises:
        ValueError: if there is no pack, or a piece is larger than one call brings.
    """
    try:
        manifest = json.loads((directory / "MANIFEST.json").read_bytes())
        sizes = {piece["name"]: piece["bytes"] / MIB for piece in manifest["pieces"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"--pack={directory}: must be a directory that tools/offline/pack_offline.py wrote"
        ) from None
    for name, mib in sizes.items():
        if mib > most_mib:
            raise ValueError(
                f"--pack={directory}: {name} has {mib:.1f} MiB, a call brings {most_mib:g} "
                "(--upload_mib); pack_offline.py --piece_mb makes smaller pieces"
            )
    return list(sizes.values())
