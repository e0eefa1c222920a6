"""What a stage says of its run."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageReport:
    """Counts of what was done, and a sentence for each thing that could not be."""

    stage: str
    counts: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        done = ", ".join(f"{name} {count}" for name, count in self.counts.items() if count) or "nothing to do"
        return f"{self.stage}: {done}"


def add(stage: str, reports: list[StageReport]) -> StageReport:
    """Many runs of a stage as one."""
    counts: dict[str, int] = {}
    for report in reports:
        for name, count in report.counts.items():
            counts[name] = counts.get(name, 0) + count
    return StageReport(stage, counts, tuple(p for r in reports for p in r.problems))
