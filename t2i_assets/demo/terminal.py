"""The demo on a terminal: bars where there is one, a line now and then where output goes to a file."""

import logging
import time
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from t2i_assets.demo.order import Unit
from t2i_assets.progress import figures_of

SECONDS_BETWEEN_LINES = 15.0
SHOWN = ("ok", "loss", "samples_per_second")


class Display:
    """Shows which units are under way and how far each is."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.tasks: dict[str, TaskID] = {}
        self.said: dict[str, float] = {}
        self.started = time.monotonic()
        self.done = self.total = 0
        self.whole: TaskID | None = None

    def start(self, total: int) -> None:
        self.total = total
        self.started = time.monotonic()
        self.bars.start()
        self.whole = self.bars.add_task("[bold]assets", total=total, figures="")

    def stop(self) -> None:
        self.bars.stop()

    def begin(self, unit: Unit) -> None:
        self.tasks[str(unit)] = self.bars.add_task(f"  {escape(str(unit))}", total=None, figures="")
        self.said[str(unit)] = time.monotonic()

    def end(self, unit: Unit, seconds: float, reused: bool, error: str | None) -> None:
        self.bars.remove_task(self.tasks.pop(str(unit)))
        self.done += 1
        if self.whole is not None:
            self.bars.advance(self.whole)
        mark, said = ("[red]✗", error or "") if error else ("[dim]=", "already made") if reused else ("[green]✓", "")
        self._say(f"{mark}[/] {escape(str(unit))}  [dim]{seconds:.1f} s[/] {escape(said)}")

    def handler(self) -> logging.Handler:
        """Return a handler of progress records: ``step=3 total=9 loss=2.1`` with the unit in ``record.unit``."""
        return _ProgressHandler(self)

    def progress(self, unit: str, figures: dict[str, str]) -> None:
        """Move the bar of a unit; without a terminal, print a line at most every few seconds."""
        if unit not in self.tasks:
            return
        step, total = int(figures.get("step", 0)), int(figures.get("total", 0))
        shown = "  ".join(f"{name.replace('_', ' ')} {figures[name]}" for name in SHOWN if name in figures)
        self.bars.update(self.tasks[unit], completed=step, total=total or None, figures=shown)
        if not self.console.is_terminal and time.monotonic() - self.said[unit] > SECONDS_BETWEEN_LINES:
            self.said[unit] = time.monotonic()
            self._say(f"[dim]·[/] {escape(unit)}  {step} of {total}  [dim]{shown}[/]")

    def _say(self, text: str) -> None:
        elapsed = int(time.monotonic() - self.started)
        self.console.print(
            f"[dim]{elapsed // 60:2d}:{elapsed % 60:02d} {self.done:3d}/{self.total}[/] {text}",
            highlight=False,
            soft_wrap=True,
        )


class _ProgressHandler(logging.Handler):
    def __init__(self, display: Display) -> None:
        super().__init__(logging.INFO)
        self.display = display

    def emit(self, record: logging.LogRecord) -> None:
        attributes: dict[str, Any] = record.__dict__
        self.display.progress(str(attributes["unit"]), figures_of(record.getMessage()))
