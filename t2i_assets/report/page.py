"""Put the report together: gather every section, fill the template, write one file."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.thumbnails import data_uri, png
from t2i_assets.corpus.votes import read_votes
from t2i_assets.report.evidence import Evidence, evidence
from t2i_assets.report.extremes import Extremes, extremes, leads_to
from t2i_assets.report.judges import JudgeBench, judge_bench
from t2i_assets.report.pictures import Drawn, drawn_prompts
from t2i_assets.report.scores import STYLES, Result, prompts_of, result
from t2i_assets.report.texts import (
    BlendStatistics,
    Example,
    Stage,
    blends,
    examples,
    funnel,
)
from t2i_assets.report.tics import Writing, writing
from t2i_assets.report.told import FACETS, Told, told
from t2i_assets.report.training import Made, Panel, judge_accuracy, made, panels
from t2i_assets.report.truth import Measured, against_the_truth
from t2i_assets.voting.tally import Tally, tally

PROMPTS_PER_CATEGORY = 3
BEST_AND_WORST = 3


@dataclass(frozen=True)
class Page:
    """Every section; an empty one is shown as not materialized yet."""

    counts: dict[str, int]
    result: Result | None
    recipes: list[str]
    funnel: dict[str, list[Stage]]
    examples: dict[str, list[Example]]
    writing: dict[str, Writing]
    blends: list[BlendStatistics]
    truth: list[Measured]
    told: list[Told]
    facets: list[str]
    drawn: dict[str, list[Drawn]]
    behind: list[Extremes]
    places: dict[tuple[str, str, str], str]
    votes: list[Tally]
    panels: list[Panel]
    judge: list[tuple[str, float, float | None]]
    judges: JudgeBench | None
    made: list[Made]
    seconds: float = field(default=0.0)


def write_report(home: Home, out: Path) -> None:
    """Write the report about ``home`` to ``out``, whole or not at all. What was not materialized is said to be so."""
    with evidence(home) as found:
        html = render(gather(found))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.write_text(html)
    temporary.replace(out)


def gather(found: Evidence) -> Page:
    """Read everything that the report shows."""
    scores = result(found)
    artifacts, behind = made(found), extremes(found, BEST_AND_WORST)
    named = scores.recipes if scores else sorted({a.partition for a in artifacts if a.asset == "caption_blend"})
    return Page(
        counts={view: _count(found, view) for view in ("pages", "images", "samples")}
        | {view: _count(found, f"{view} WHERE current") for view in ("captions", "models", "prompts")},
        result=scores,
        recipes=named,
        funnel=funnel(found),
        examples=examples(found),
        writing=writing(found),
        blends=blends(found),
        truth=against_the_truth(found),
        told=told(found),
        facets=list(FACETS.values()),
        drawn={style: drawn_prompts(found, style, PROMPTS_PER_CATEGORY) for style in STYLES},
        behind=behind,
        places=leads_to(behind, scores),
        votes=tally(read_votes(found.home)),
        panels=panels(found, named),
        judge=judge_accuracy(found),
        judges=judge_bench(found),
        made=artifacts,
        seconds=sum(artifact.seconds for artifact in artifacts),
    )


def render(page: Page) -> str:
    """Return the page as HTML that needs no other file."""
    environment = Environment(
        loader=PackageLoader("t2i_assets.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(
        uri=data_uri,
        png=png,
        percent=_percent,
        duration=_duration,
        signed=_signed,
        number=_number,
        recipe=_recipe(page.recipes),
        prompts=prompts_of,
    )
    return environment.get_template("report.html.j2").render(page=page)


def _count(found: Evidence, view: str) -> int:
    [row] = found.rows(f"SELECT count(*) AS n FROM {view}")
    return int(row["n"])


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 or 0.9 < share < 1 else f"{100 * share:.0f} %"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _number(value: float, decimals: int = 2) -> str:
    return _minus(f"{value:.{decimals}f}")


def _signed(value: float, decimals: int = 2) -> str:
    """Return a difference; one that would round to 0 keeps more digits, so that its sign does not mislead."""
    if value and abs(value) < 0.5 * 10.0**-decimals and decimals < 4:
        return _signed(value, decimals + 1)
    return _minus(f"{value:+.{decimals}f}")


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _recipe(recipes: list[str]) -> Any:
    return lambda name: f"recipe-{recipes.index(name)}" if name in recipes else "recipe-none"
