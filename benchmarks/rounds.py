"""One measured round, and what many interleaved rounds say together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Distorted(Exception):
    """A round did not do the work that it reports; its figure would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one contender did in one round: ``done`` answers in ``seconds``.

    Latencies are of the client, in milliseconds; ``client_cpu`` is how many processors the
    client itself kept busy.
    """

    done: int
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    client_cpu: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.done / self.seconds


def check_rows(name: str, measured: Round, new_rows: int, connections: int) -> None:
    """Compare the answers with the rows that really came into the database.

    At the end of a round each connection may have one request on its way, whose row is
    written and whose answer nobody counts.

    Raises:
        Distorted: there are fewer rows than answers, or too many.
    """
    surplus = new_rows - measured.done
    if not 0 <= surplus <= connections:
        raise Distorted(f"{name}: {measured.done} answers, but {new_rows} new transactions")


def median_rate(rounds: Sequence[Round]) -> float:
    """Return the median of the rounds' rates, answers a second."""
    return statistics.median(each.rate for each in rounds)


def median_ratio(rounds: Sequence[Round], base: Sequence[Round]) -> float:
    """Return the median of the ratios of neighbouring rounds.

    Whatever slows the machine for a while slows both rounds of a pair, so pairs tell more
    than the ratio of two medians.
    """
    return statistics.median(
        each.rate / other.rate for each, other in zip(rounds, base, strict=True)
    )


def median_of(rounds: Sequence[Round], name: str) -> float | None:
    """Return the median of an optional figure, ``None`` where no round has it."""
    values = [value for each in rounds if (value := getattr(each, name)) is not None]
    return statistics.median(values) if values else None


def table(rounds: Mapping[str, Sequence[Round]], base: str) -> str:
    """Return the figures as a table, with how ``base`` compares to each contender."""
    head = ("", "creates/s", "slowest..fastest", "p50 ms", "p99 ms", f"{base} / it", "client CPU")
    lines = [head]
    for name, own in rounds.items():
        rates = [each.rate for each in own]
        ratio = f"{median_ratio(rounds[base], own):.2f}" if base in rounds else ""
        lines.append(
            (
                name,
                f"{median_rate(own):,.0f}",
                f"{min(rates):,.0f}..{max(rates):,.0f}",
                _number(median_of(own, "p50_ms")),
                _number(median_of(own, "p99_ms")),
                "" if name == base else ratio,
                _number(median_of(own, "client_cpu"), 2),
            )
        )
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
