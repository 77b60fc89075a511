"""The tables, in Markdown: what was lost first."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.peers.loads import Row
from bench.peers.measure import Figure

# Row by row, one figure for each round; a row that failed has none.
Figures = Mapping[str, Mapping[str, Sequence[Figure]]]
MEMORY_MIB_MAX = 200


@dataclass(frozen=True)
class Compared:
    """One row of ours beside another's. `ratio` is the median over the rounds, each taken within
    its round."""

    row: Row
    ours: Sequence[Figure]
    theirs: Sequence[Figure]
    wanted: float | None

    @property
    def ratios(self) -> list[float]:
        return [our.rate / their.rate for our, their in zip(self.ours, self.theirs, strict=False)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        if self.wanted is None:
            return "LOST" if self.ratio < 1 else "won"
        if self.ratio < min(1.0, self.wanted):
            return "LOST"
        return "below" if self.ratio < self.wanted else "met"


def table(
    title: str,
    figures: Figures,
    ours: str,
    theirs: str,
    rows: Sequence[Row],
    wanted: Mapping[str, float],
) -> str:
    """Ours beside one peer. Rows that either did not finish stand below the table."""
    compared, missing = [], []
    for row in rows:
        mine, other = (figures.get(name, {}).get(row.name, ()) for name in (ours, theirs))
        if mine and other:
            compared.append(Compared(row, mine, other, wanted.get(row.name)))
        else:
            missing.append(row.title)
    order = ["LOST", "below", "met", "won"]
    compared.sort(key=lambda one: (order.index(one.verdict), one.ratio))
    lines = [
        f"## {title}",
        "",
        f"| row | | {ours}/s | {theirs}/s | **ratio** | spread | wanted | p50 ms | p99 ms"
        " | CPU us | peak MiB | failed |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_line(one) for one in compared),
        "",
    ]
    if missing:
        lines += [f"Without a figure on one side: {', '.join(missing)}.", ""]
    return "\n".join(lines)


def _line(one: Compared) -> str:
    failed = sum(figure.failed for figure in [*one.ours, *one.theirs])
    wanted = "" if one.wanted is None else f"{one.wanted:g}"
    beside = f" (made: {_pair(one, 'beside_rate', '.0f')})" if one.row.beside else ""
    return (
        f"| {one.row.title}{beside}, {one.row.connections} connections | {one.verdict}"
        f" | {_median(one.ours, 'rate'):,.0f} | {_median(one.theirs, 'rate'):,.0f}"
        f" | **{one.ratio:.2f}** | {min(one.ratios):.2f}-{max(one.ratios):.2f} | {wanted}"
        f" | {_pair(one, 'p50_ms', '.1f')} | {_pair(one, 'p99_ms', '.0f')}"
        f" | {_pair(one, 'cpu_us', '.0f')} | {_pair(one, 'peak_mib', '.0f')} | {failed} |"
    )


def _pair(one: Compared, name: str, form: str) -> str:
    return f"{_median(one.ours, name):{form}} / {_median(one.theirs, name):{form}}"


def _median(figures: Sequence[Figure], name: str) -> float:
    return float(statistics.median(getattr(figure, name) for figure in figures))


def memory(figures: Figures, names: Sequence[str]) -> str:
    """The highest peak of each server over all its loads."""
    lines = ["## Memory: highest peak over all loads", "", "| server | MiB | |", "|---|---|---|"]
    for name in names:
        peaks = [figure.peak_mib for row in figures.get(name, {}).values() for figure in row]
        if peaks:
            is_ours = name.startswith("baas")
            verdict = ("met" if max(peaks) < MEMORY_MIB_MAX else "above") if is_ours else ""
            lines.append(f"| {name} | {max(peaks):.0f} | {verdict} |")
    return "\n".join([*lines, "", f"Wanted of ours: below {MEMORY_MIB_MAX} MiB.", ""])
