"""Medians with their spread, ratios of pairs, and targets."""

import statistics
from dataclasses import dataclass


@dataclass
class Spread:
    """The median of several values, with the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        values = list(values)
        return cls(statistics.median(values), min(values), max(values)) if values else None

    def show(self, form):
        if self.low == self.high:
            return form(self.median)
        return f"{form(self.median)} [{form(self.low)}–{form(self.high)}]"


def ratios(ours, peer):
    """Ours by the peer's, pair by pair: what disturbs a pair disturbs both of its runs."""
    return Spread.of(a / b for a, b in zip(ours, peer) if b)


@dataclass
class Target:
    """A bound for one of a row's figures, such as `Target("ratio", "≥", 1.0)`."""

    figure: str
    sign: str
    bound: float
    unit: str = ""

    def met(self, figures):
        """Whether the median keeps it; None if that figure was not measured."""
        spread = figures.get(self.figure)
        if spread is None:
            return None
        return spread.median >= self.bound if self.sign == "≥" else spread.median <= self.bound

    def __str__(self):
        name = "" if self.figure == "value" else f"{self.figure} "
        return f"{name}{self.sign} {self.bound:,g}{self.unit}"


def rate(value):
    """Messages a second: 1.23 M, 45.6 k, 789."""
    for bound, unit in ((1e6, " M"), (1e3, " k")):
        if value >= bound:
            return f"{digits(value / bound)}{unit}"
    return digits(value)


def digits(value):
    """Three significant digits, and never an exponent."""
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
