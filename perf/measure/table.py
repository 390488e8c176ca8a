"""The rows of the table, and how they are printed: Markdown, one table."""

from dataclasses import asdict, dataclass, field

from .numbers import Spread, Target, digits, rate, ratios

HEAD = ("what", "ours", "peer", "ratio", "target", "met?", "CPU-s per million, ours / peer", "RSS MB, ours / peer")


@dataclass
class Sample:
    """One run. `value` is what the row is about, by default messages a second."""

    value: float
    messages: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    largest: float = 0.0
    together: float = 0.0
    largest_worker: float = 0.0

    @classmethod
    def of(cls, cost, messages):
        return cls(
            messages / cost.seconds, messages, cost.seconds, cost.cpu, cost.largest, cost.together, cost.largest_worker
        )

    def cpu_per_million(self):
        return self.cpu / self.messages * 1e6


@dataclass
class Row:
    """One comparison, or one figure of ours alone. With `failed` there are no figures, and this is why."""

    name: str
    what: str
    unit: str = "msg/s"
    ours: list = field(default_factory=list)
    peer: list = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    failed: str = ""

    def figures(self):
        """All that a target can be about."""
        found = {"value": Spread.of(sample.value for sample in self.ours)}
        if self.peer:
            found["ratio"] = ratios([sample.value for sample in self.ours], [sample.value for sample in self.peer])
        if self.has_cost(self.ours):
            found["RSS"] = Spread.of([max(sample.together for sample in self.ours)])
        if self.has_cost(self.ours) and self.has_cost(self.peer):
            found["CPU ratio"] = ratios(
                *([sample.cpu_per_million() for sample in side] for side in (self.ours, self.peer))
            )
        return {name: spread for name, spread in found.items() if spread}

    @staticmethod
    def has_cost(side):
        return bool(side) and all(sample.messages for sample in side)

    def met(self):
        if not self.targets:
            return ""
        answers = [target.met(self.figures()) for target in self.targets]
        missed = [str(target) for target, answer in zip(self.targets, answers) if not answer]
        return "yes" if not missed else f"**no**: {', '.join(missed)}" if len(answers) > 1 else "**no**"

    def show(self, spread):
        return spread.show(rate if self.unit == "msg/s" else digits) + f" {self.unit}" if spread else ""

    def cells(self, judge=True):
        """For the table; without `judge` no target is held against it."""
        met = self.met() if judge and not self.failed else "–"
        if self.failed:
            return (self.what, f"could not be measured: {self.failed}", "", "", self.target(), met, "", "")
        figures = self.figures()
        sides = [side for side in (self.ours, self.peer) if self.has_cost(side)]
        cpu = [digits(Spread.of(sample.cpu_per_million() for sample in side).median) for side in sides]
        if "CPU ratio" in figures:
            cpu.append(f"= {figures['CPU ratio'].show(digits)}")
        memory = [memory_of(side) for side in sides]
        return (
            self.what,
            self.show(figures.get("value")),
            self.show(Spread.of(sample.value for sample in self.peer)),
            figures["ratio"].show(digits) if "ratio" in figures else "",
            self.target(),
            met,
            " / ".join(cpu[:2]) + (f" {cpu[2]}" if len(cpu) > 2 else ""),
            " / ".join(memory),
        )

    def target(self):
        return ", ".join(map(str, self.targets))

    def raw(self):
        return asdict(self) | {"target": self.target(), "met": "–" if self.failed else self.met()}


def memory_of(side):
    """The peak of all processes together and, if there are several, of the largest."""
    together, largest = (max(getattr(sample, name) for sample in side) for name in ("together", "largest"))
    return f"{together:.0f}" if together < 1.05 * largest else f"{together:.0f} (largest {largest:.0f})"


def markdown(head, rows):
    """A table whose columns are aligned in plain text, too."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [head, *rows]]
    widths = [min(max(len(line[at]) for line in lines), 60) for at in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)
