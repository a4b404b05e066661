"""Which pieces of the suite are done, and when: the rule that executing and planning share."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol

from suite_pieces import Config, Run, Setting


class Budget:
    """Seconds that a machine is at hand, spent in calls that are shorter.

    Args:
        seconds: in all, from now on.
        call_seconds: of one call.
        clock: tells the time.
    """

    def __init__(
        self, seconds: float, call_seconds: float, clock: Callable[[], float] = time.monotonic
    ):
        self._clock, self.call_seconds = clock, call_seconds
        self._started, self._end = clock(), clock() + seconds
        self.next_call()

    def next_call(self) -> None:
        self._call_end = min(self._clock() + self.call_seconds, self._end)

    def spent(self) -> float:
        return self._clock() - self._started

    def left(self) -> float:
        return self._end - self._clock()

    def call_left(self) -> float:
        return self._call_end - self._clock()


class Known(Protocol):
    """What of the suite is behind it."""

    def is_done(self, piece: Config | Run) -> bool: ...

    def has_failed(self, piece: Config | Run) -> bool: ...

    def trained(self, run: Run) -> float:
        """The share of a run's steps that is behind it, 0–1."""

    def good(self) -> list[dict[str, Any]]:
        """Configurations that were timed."""


@dataclass(frozen=True)
class Needs:
    """Seconds that a piece is thought to take.

    Attributes:
        whole: until it is done.
        start: until it gets anywhere; what is interrupted later goes on in the next call.
        reserve: that must be left at its end.
    """

    whole: float
    start: float
    reserve: float = 0.0


def needs(piece: Config | Run, setting: Setting, known: Known) -> Needs:
    """An estimate: by what its like has taken, else by the setting's guess."""
    if isinstance(piece, Config):
        like = [row["seconds"] for row in known.good() if row["xla"] == piece.xla]
        seconds = max(like, default=setting.guess[piece.xla])
        return Needs(seconds, seconds)
    config = fastest(piece, setting, known)
    row = next((row for row in known.good() if asdict(config).items() <= row.items()), {})
    compilation = row.get("compile_seconds", setting.guess[config.xla] / 2)
    step = row["step_ms"] / 1000 if row else setting.guess_step
    # Training and evaluation are compiled; a run's steps take a little longer than timed ones.
    start = setting.run_seconds + 2 * compilation
    training = 1.1 * step * setting.steps * (1 - known.trained(piece))
    return Needs(start + training, start, setting.grace)


def fastest(run: Run, setting: Setting, known: Known) -> Config:
    """How to compute a run: precision and batch size are its own, what else is fastest."""
    fit = [
        row
        for row in known.good()
        if row["batch_size"] == setting.default.batch_size and row["precision"] == run.precision
    ]
    if not fit:
        return replace(setting.default, precision=run.precision)
    best = max(fit, key=lambda row: row["images_per_second"])
    return Config(**{field.name: best[field.name] for field in fields(Config)})


def walk(
    setting: Setting,
    known: Known,
    budget: Budget,
    do: Callable[[Config | Run, Needs], None],
    leave: Callable[[Config | Run, str], None],
) -> None:
    """Do one call's pieces in their order; leave those for which there is no time.

    What failed in an earlier call comes last: it may cost minutes to fail again. A piece that does
    not fit into the budget makes room for shorter ones. One that does not fit into this call, but
    into the next, ends it: to interrupt and resume a run costs its start once more. A run that is
    longer than a call is begun all the same, and interrupted.
    """
    ended = ""
    for piece in sorted(setting.pieces, key=known.has_failed):
        if known.is_done(piece):
            continue
        needed = needs(piece, setting, known)
        left, call_left, call = (
            seconds - needed.reserve
            for seconds in (budget.left(), budget.call_left(), budget.call_seconds)
        )
        part = needed.whole if needed.whole <= call else needed.start
        if needed.whole > left:
            leave(piece, f"the budget ends: {shown(needed.whole)} needed, {shown(left)} left")
        elif part > call:
            leave(piece, f"a call is too short: {shown(part)} needed, {shown(call)} are one")
        elif ended or part > call_left:
            ended = ended or f"the call ends: {shown(part)} needed for {piece}"
            leave(piece, ended)
        else:
            do(piece, needed)


def shown(seconds: float) -> str:
    return f"{max(seconds, 0) / 60:.1f} min"
