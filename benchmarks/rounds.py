"""One measured round, and what many interleaved rounds say together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


class Distorted(Exception):
    """A round did not do the work that it reports; its figure would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one contender did in one round: ``done`` answers in ``seconds``.

    Latencies are the client's, in milliseconds. The rest is processor time in seconds.
    """

    done: int
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    database_cpu: float = 0.0
    broker_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.done / self.seconds

    @property
    def server_cpu_ms(self) -> float:
        """Processor time of the HTTP server for each answer, milliseconds."""
        return 1000 * self.server_cpu / self.done

    @property
    def database_cpu_ms(self) -> float:
        """Processor time of PostgreSQL for each answer, milliseconds."""
        return 1000 * self.database_cpu / self.done

    @property
    def broker_cpu_ms(self) -> float:
        """Processor time of Valkey for each answer, milliseconds."""
        return 1000 * self.broker_cpu / self.done

    @property
    def client_cpu_ms(self) -> float:
        """Processor time of the client for each answer, milliseconds."""
        return 1000 * self.client_cpu / self.done


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


def median_of(rounds: Sequence[Round], name: str) -> float | None:
    """Return the median of one figure, ``None`` where no round has it."""
    values = [value for each in rounds if (value := getattr(each, name)) is not None]
    return statistics.median(values) if values else None


def median_ratio(rounds: Sequence[Round], base: Sequence[Round]) -> float:
    """Return the median of the ratios of the rates of neighbouring rounds.

    Whatever slows the machine for a while slows both rounds of a pair, so pairs tell more
    than the ratio of two medians.
    """
    return statistics.median(
        each.rate / other.rate for each, other in zip(rounds, base, strict=True)
    )


HEAD = ("creates/s", "slowest..fastest", "p50 ms", "p99 ms", "server", "PostgreSQL", "client")


def cells(rounds: Sequence[Round]) -> tuple[str, ...]:
    """Return the figures under ``HEAD``; the last three are processor ms for each create."""
    rates = [each.rate for each in rounds]
    return (
        number(median_of(rounds, "rate"), 0),
        f"{min(rates):,.0f}..{max(rates):,.0f}",
        number(median_of(rounds, "p50_ms"), 1),
        number(median_of(rounds, "p99_ms"), 1),
        number(median_of(rounds, "server_cpu_ms"), 2),
        number(median_of(rounds, "database_cpu_ms"), 2),
        number(median_of(rounds, "client_cpu_ms"), 2),
    )


def table(
    rounds: Mapping[str, Sequence[Round]],
    base: str,
    *,
    head: Sequence[str] = HEAD,
    cells: Callable[[Sequence[Round]], tuple[str, ...]] = cells,
) -> str:
    """Return the figures as a table, with how ``base`` compares to each contender."""
    lines: list[tuple[str, ...]] = [("", *head, f"{base} / it")]
    for name, own in rounds.items():
        compared = base in rounds and name != base
        ratio = f"{median_ratio(rounds[base], own):.2f}" if compared else ""
        lines.append((name, *cells(own), ratio))
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def number(value: float | None, digits: int) -> str:
    """Return a figure as text, nothing for ``None``."""
    return "" if value is None else f"{value:,.{digits}f}"
