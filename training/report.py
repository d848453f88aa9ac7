"""What a job tells the outside: progress lines, metrics.parquet, run.json, loss.png, TensorBoard's events and, under
Dagster, its UI.
"""

import importlib.util
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from t2i_assets.corpus.schemas import METRICS
from t2i_assets.corpus.tables import write_table

SECONDS_BETWEEN_LINES = 2.0
EVENTS = "events.out.tfevents.*"

Figure = float | int


class Reporter:
    """Collects the figures of one job; a context manager, so that the channel to Dagster is closed.

    A ``quiet`` one says nothing while the job runs: of several processes that do one job, the first speaks.
    """

    def __init__(self, name: str, output: Path, parameters: dict[str, Any], quiet: bool = False) -> None:
        self.name = name
        self.output = output
        self.parameters = parameters
        self.quiet = quiet
        self.rows: list[dict[str, Any]] = []
        self.images: dict[str, str] = {}
        self._steps = 0
        self._seconds_before = 0.0
        self._started = time.monotonic()
        self._last_line = float("-inf")
        self._pipes = None if quiet else _open_pipes()
        self._board: Any = None

    @property
    def seconds(self) -> float:
        """Seconds of work, those of a killed try included."""
        return self._seconds_before + time.monotonic() - self._started

    def log(self, step: int, total: int, **figures: Figure) -> None:
        """Record figures at a step; names with a phase (``val/psnr``) go in as ``**{"val/psnr": 29.0}``.

        Prints ``progress step=300 total=900 loss=2.13`` every other second, and at the last step.
        """
        self._steps = max(self._steps, step)
        for name, value in figures.items():
            self.rows.append({"step": step, "name": name, "value": float(value), "seconds": self.seconds})
        if self.quiet:
            return
        if figures:
            self._show_on_board(self.rows[-len(figures) :])
        if time.monotonic() - self._last_line < SECONDS_BETWEEN_LINES and step < total:
            return
        self._last_line = time.monotonic()
        line = " ".join([f"progress step={step} total={total}", *(f"{k}={_short(v)}" for k, v in figures.items())])
        print(line, flush=True)
        if self._pipes is not None:
            self._pipes.log.info(line)

    def image(self, name: str, path: Path) -> None:
        """Name a picture that the job wrote into its output: ``samples`` → ``samples.png``."""
        self.images[name] = path.relative_to(self.output).as_posix()

    def finish(self, **final: Any) -> None:
        """Write metrics.parquet, run.json and loss.png; ``final`` holds the figures that describe the result."""
        if self._board is not None:
            self._board.close()
        write_table(self.output / "metrics.parquet", self.rows, METRICS)
        if _curve_names(self.rows):
            draw_loss(self.rows, self.name, self.output / "loss.png")
            self.image("loss", self.output / "loss.png")
        run = {
            "name": self.name,
            "parameters": self.parameters,
            "steps": self._steps,
            "seconds": round(self.seconds, 3),
            "final": final,
            "images": self.images,
        }
        (self.output / "run.json").write_text(json.dumps(run, indent=1))
        if self._pipes is not None:
            self._pipes.report_custom_message(run)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep so that a resumed job's curves are whole."""
        return {"rows": self.rows, "images": self.images, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's ``state()``."""
        self.rows = list(state["rows"])
        self.images = dict(state["images"])
        self._seconds_before = state["seconds"]
        self._started = time.monotonic()
        self._steps = max((row["step"] for row in self.rows), default=0)
        if self.quiet:
            return
        if self._board is not None:
            self._board.close()
            self._board = None
        for events in self.output.glob(EVENTS):
            events.unlink()
        if self.rows:
            self._show_on_board(self.rows)

    def _show_on_board(self, rows: list[dict[str, Any]]) -> None:
        """Add figures to the file of events that TensorBoard reads; after a resumption it is written anew."""
        if self._board is None:
            from tensorboardX import SummaryWriter  # a fifth of a second that jobs without figures need not pay

            self._board = SummaryWriter(str(self.output))
        now, seconds = time.time(), self.seconds
        for row in rows:
            self._board.add_scalar(row["name"], row["value"], row["step"], walltime=now - seconds + row["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipes is None:
            return
        if isinstance(error, Exception):
            self._pipes.__exit__(kind, error, trace)
        else:
            self._pipes.close()


def draw_loss(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw every loss of the rows: the logged values faint, a smoothed curve on top, held-out values as dots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second that only the end of a job pays
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, name in enumerate(_curve_names(rows)):
        colour = f"C{number % 10}"
        steps = [row["step"] for row in rows if row["name"] == name]
        values = [row["value"] for row in rows if row["name"] == name]
        if "val/" in name:
            axes.plot(steps, values, "o", color=colour, markersize=5, markeredgecolor="white", label=name, zorder=3)
        else:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
            axes.plot(steps, _smoothed(values), color=colour, linewidth=1.8, label=name)
    axes.set(xlabel="step", ylabel="loss", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def _curve_names(rows: list[dict[str, Any]]) -> list[str]:
    return sorted({row["name"] for row in rows if row["name"].split("/")[-1] == "loss"})


def _smoothed(values: list[float]) -> list[float]:
    """Return the mean of each value and its neighbours: as many on both sides, a fifteenth of the curve in all."""
    reach = len(values) // 30
    means = []
    for n in range(len(values)):
        near = min(reach, n, len(values) - 1 - n)
        means.append(sum(values[n - near : n + near + 1]) / (2 * near + 1))
    return means


def _short(value: Figure) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _open_pipes() -> Any:
    """Return the channel to Dagster where it launched this process, else None."""
    if importlib.util.find_spec("dagster_pipes") is None:
        return None
    from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

    return open_dagster_pipes() if PipesEnvVarParamsLoader().is_dagster_pipes_process() else None
