"""Pictures of a bench: learnt against forgotten, recovered against how many at once, a stream over its steps."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from daemon.learn.errors import LearnError

Json = dict[str, Any]


def _axes(x: str, y: str) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise LearnError("The pictures of a bench need matplotlib, which is not installed.", hint="pip install 'lorefeed[plots]'") from err
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def draw(answer: Json, folder: Path, *, kind: str, history: Sequence[Json] = ()) -> list[str]:
    """Writes the kind's pictures as SVG and names them. `history` are earlier answers of the same folder, for the second picture."""
    if kind == "knowledge":
        return [_trade(answer, folder / "learnt-against-forgotten.svg"), _counts([*history, answer], folder / "recovered-by-count.svg")]
    return [_steps(answer, folder / "stream.svg")] if kind == "stream" else []


def _trade(answer: Json, file: Path) -> str:
    """Each method's whole curve, one point a learning rate."""
    base = answer["methods"]["base"]
    measure, what = (
        ("locality_accuracy", "points of known answers lost")
        if base["locality_accuracy"] is not None
        else ("generic_kl", "KL on generic text")
    )
    figure, axes = _axes(what, "recovered of the in-context gain")
    for name, result in answer["methods"].items():
        runs = [run for run in result.get("sweep", ()) if "failed" not in run and run["recovered"] is not None]
        if runs:
            lost = [100 * (base[measure] - r[measure]) if measure == "locality_accuracy" else r[measure] for r in runs]
            axes.plot(lost, [r["recovered"] for r in runs], marker="o", label=name)
    if measure == "locality_accuracy":
        axes.axvline(100 * answer["budget"]["known"], color="grey", linestyle=":")
    return _saved(figure, axes, file)


def _counts(answers: Sequence[Json], file: Path) -> str:
    figure, axes = _axes("definitions at once", "recovered of the in-context gain")
    axes.set_xscale("log")
    found: dict[str, dict[int, list[float]]] = {}
    for answer in answers:
        for name, result in answer["methods"].items():
            if result.get("sweep") and result.get("recovered") is not None:
                found.setdefault(name, {}).setdefault(answer["at_once"], []).append(result["recovered"])
    for name, by_count in found.items():
        counts = sorted(by_count)
        axes.plot(counts, [fmean(by_count[c]) for c in counts], marker="o", label=name)
    return _saved(figure, axes, file)


def _steps(answer: Json, file: Path) -> str:
    figure, axes = _axes("definitions so far", "share")
    x = [s["definitions"] for s in answer["steps"]]
    for label, values in (
        ("learnt by this step", [s["learnt"] for s in answer["steps"]]),
        ("kept of earlier steps", [s["kept"] for s in answer["steps"]]),
        ("known answers", [s["unrelated"]["locality_accuracy"] for s in answer["steps"]]),
        ("FUAR", [s["fuar"] for s in answer["steps"]]),
    ):
        if any(v is not None for v in values):
            axes.plot(x, [float("nan") if v is None else v for v in values], marker="o", label=label)
    return _saved(figure, axes, file)


def _saved(figure: Any, axes: Any, file: Path) -> str:
    if axes.get_lines():
        axes.legend()
    figure.savefig(file)
    return file.name
