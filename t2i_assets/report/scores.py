"""The result: what the leaderboard says about the recipes, in numbers and in one honest sentence."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from evaluation.leaderboard import COMPOSITIONAL, GENEVAL
from t2i_assets.report.evidence import Evidence, Row

HEADLINES = (COMPOSITIONAL, GENEVAL)
"""Scores that sum up a style: recipes are compared by them."""
STYLES = ("descriptive", "original")
BENCHMARKS = {"t2i_compbench": "T2I-CompBench", "geneval": "GenEval", "drawbench": "DrawBench"}
"""How styles are written that are the prompts of a published file."""


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    name: str
    label: str
    about: str
    decimals: int = 2
    higher_is_better: bool = True


METRICS = {
    metric.name: metric
    for metric in (
        Metric(COMPOSITIONAL, "Compositional", "mean of the categories below that are shares, 0 to 1"),
        Metric(GENEVAL, "GenEval", "mean of its six tasks, 0 to 1"),
        Metric("color", "Colour", "objects have the colours asked for"),
        Metric("shape", "Shape", "objects have the shapes asked for"),
        Metric("texture", "Texture", "objects have the textures asked for"),
        Metric("spatial", "Spatial", "objects stand as asked for"),
        Metric("numeracy", "Numeracy", "objects are as many as asked for"),
        Metric("complex", "Complex", "all that applies, together"),
        Metric("3d_spatial", "3-D spatial", "objects stand before or behind one another as asked for"),
        Metric("non_spatial", "Non-spatial", "cosine of image and prompt, independent CLIP", 3),
        Metric("clip_score", "CLIP score", "100·cos(image, prompt), independent CLIP: DALL·E 3's definition", 1),
        Metric("clip_s", "CLIP-S", "2.5·max(cos, 0), prompt prefixed: Hessel et al."),
        Metric("ref_clip_s", "RefCLIP-S", "CLIP-S with the scene's other captions as references"),
        Metric("clip_score_torchmetrics", "CLIP score (torchmetrics)", "100·cos averaged, then clamped at 0", 1),
        Metric("fd_judge", "FD (judge)", "Frechet distance to real images; lower is better", 1, False),
        Metric("kd_judge", "KD (judge)", "kernel distance to real images; lower is better", 3, False),
    )
}


TASK = f"{GENEVAL}_"
"""How names of GenEval's tasks begin."""
FEATURE_METRICS = (
    *(("fid", "FID"), ("kid", "KID"), ("fd", "FD"), ("kd", "KD"), ("cmmd", "CMMD")),
    *(("precision", "Precision"), ("recall", "Recall"), ("density", "Density"), ("coverage", "Coverage")),
    ("inception_score", "Inception score"),
)
"""How names of metrics of features begin; the encoder follows."""
LIMIT = "_infinity"
"""How names of distances end that are extrapolated to infinitely many images."""
DISTANCES = ("fid", "kid", "fd", "kd", "cmmd")


def prompts_of(style: str, begins: bool = True) -> str:
    """Return a style in words, as they begin a sentence or stand in it: Descriptive prompts, prompts of GenEval."""
    words = f"prompts of {BENCHMARKS[style]}" if style in BENCHMARKS else f"{style} prompts"
    return words[0].upper() + words[1:] if begins else words


def described(name: str) -> Metric:
    """Return how a metric is shown; tasks and metrics of features are told by what their name begins with."""
    if name in METRICS:
        return METRICS[name]
    if name.startswith(TASK):
        task = name.removeprefix(TASK).replace("_", " ").capitalize()
        return Metric(name, f"{task} (GenEval)", "pictures with all that was asked and nothing excluded")
    for start, label in FEATURE_METRICS:
        if name == start or name.startswith(f"{start}_"):
            of = name.removesuffix(LIMIT).removeprefix(start).strip("_").replace("_", " ")
            label += "∞" if name.endswith(LIMIT) else ""
            nearer = start in DISTANCES
            about = f"features of {of or 'Inception'}{'; lower is better' if nearer else ''}"
            return Metric(name, f"{label} ({of})" if of else label, about, 3, not nearer)
    return Metric(name, name, "")


@dataclass(frozen=True)
class Score:
    """A mean and its interval, absent where it is unknown."""

    value: float
    low: float | None
    high: float | None
    n: int
    warning: str | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def meets(self, floor: "Score") -> bool:
        """Whether this score is not clearly above ``floor``."""
        low = self.value if self.low is None else self.low
        return low <= (floor.value if floor.high is None else floor.high)


@dataclass(frozen=True)
class Mark:
    """One dot with its interval on a scale from 0 to 100."""

    label: str
    css: str
    score: Score
    at: float
    start: float
    end: float


@dataclass(frozen=True)
class Comparison:
    """One recipe against the baseline on the headline of one prompt style."""

    metric: Metric
    style: str
    recipe: str
    baseline: str
    ours: Score
    theirs: Score
    difference: Score

    @property
    def verdict(self) -> str:
        if not self.difference.is_clear:
            return "open"
        return "better" if self.difference.value > 0 else "worse"


@dataclass(frozen=True)
class Scale:
    """Floor, recipes and ceiling of a headline beside one another, from 0 to 1."""

    title: str
    marks: list[Mark]


@dataclass(frozen=True)
class Line:
    """One metric of one prompt style, by one version and scorer: every system's score, differences and marks."""

    metric: Metric
    floor: Score | None
    ceiling: Score | None
    recipes: dict[str, Score]
    differences: dict[str, Score]
    marks: list[Mark]

    def verdict(self, recipe: str) -> str:
        """Return better, worse or open."""
        score = self.differences[recipe]
        if not score.is_clear:
            return "open"
        return "better" if (score.value > 0) == self.metric.higher_is_better else "worse"


@dataclass(frozen=True)
class Result:
    """Everything that is said about scores."""

    recipes: list[str]
    baseline: str | None
    comparisons: list[Comparison]
    scales: list[Scale]
    lines: dict[str, list[Line]]
    scenes: int

    @property
    def at_floor(self) -> list[tuple[str, str]]:
        """Return (style, recipe) of every headline whose interval meets the floor's."""
        found = []
        for style, lines in self.lines.items():
            for line in lines:
                if line.metric.name in HEADLINES and line.floor is not None:
                    found += [(style, name) for name, score in line.recipes.items() if score.meets(line.floor)]
        return found


def result(evidence: Evidence) -> Result | None:
    """Return what the leaderboard says; None where there is none."""
    rows = evidence.rows("SELECT * FROM leaderboard WHERE current")
    if not rows:
        return None
    [counted] = evidence.rows(
        "SELECT count(DISTINCT scene_id) AS scenes FROM evals WHERE current AND system = 'generated'"
    )
    baseline = next((row["baseline"] for row in rows if row["baseline"]), None)
    named = sorted({row["recipe"] for row in rows if row["recipe"]}, key=lambda name: (name != baseline, name))
    styles = sorted({row["style"] for row in rows}, key=_rank(STYLES))
    lines = {style: _lines([row for row in rows if row["style"] == style], named) for style in styles}
    main = [(style, line) for style, found in lines.items() for line in found if line.metric.name in HEADLINES]
    comparisons = [
        Comparison(line.metric, style, recipe, baseline, line.recipes[recipe], line.recipes[baseline], difference)
        for style, line in main
        for recipe, difference in line.differences.items()
        if baseline is not None and baseline in line.recipes
    ]
    scales = [Scale(f"{prompts_of(style)}: {line.metric.label}", _on_scale(line)) for style, line in main]
    return Result(named, baseline, comparisons, scales, lines, counted["scenes"])


def _lines(rows: list[Row], recipes: list[str]) -> list[Line]:
    """Return the lines of one style; a metric by several versions or scorers has one for each, which it names."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["metric"], row["metric_version"], row["scorer"]].append(row)
    several = {name for name, *_ in groups if sum(name == other for other, *_ in groups) > 1}
    rank = _rank(METRICS)
    found = []
    for name, version, scorer in sorted(groups, key=lambda group: (rank(group[0]), group[1:])):
        metric = described(name)
        if name in several:
            metric = replace(metric, about=f"{metric.about}; by {version} with {scorer}".removeprefix("; "))
        found.append(_line(metric, groups[name, version, scorer], recipes))
    return found


def _line(metric: Metric, rows: list[Row], recipes: list[str]) -> Line:
    plain = {(row["system"], row["recipe"]): _score(row) for row in rows if row["baseline"] is None}
    floor, ceiling = plain.get(("floor", None)), plain.get(("ceiling", None))
    scores = {recipe: plain["generated", recipe] for recipe in recipes if ("generated", recipe) in plain}
    differences = {row["recipe"]: _score(row) for row in rows if row["baseline"] is not None}
    marks = []
    if floor is not None and ceiling is not None and floor.value != ceiling.value:
        marks = [
            _mark(recipe, f"recipe-{recipes.index(recipe)}", score, floor.value, ceiling.value)
            for recipe, score in scores.items()
        ]
    return Line(metric, floor, ceiling, scores, differences, marks)


def _on_scale(line: Line) -> list[Mark]:
    named = [("floor: real images, shuffled prompts", "bound", line.floor)]
    named += [(name, f"recipe-{number}", score) for number, (name, score) in enumerate(line.recipes.items())]
    named += [("ceiling: real images of the prompts", "bound", line.ceiling)]
    return [_mark(label, css, score, 0.0, 1.0) for label, css, score in named if score is not None]


def _mark(label: str, css: str, score: Score, zero: float, one: float) -> Mark:
    def place(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - zero) / (one - zero))), 2)

    ends = sorted(place(value if value is not None else score.value) for value in (score.low, score.high))
    return Mark(label, css, score, place(score.value), ends[0], ends[1])


def _score(row: Row) -> Score:
    return Score(row["value"], row["low"], row["high"], row["n"], row["warning"])


def _rank(names: Iterable[str]) -> "_Rank":
    return _Rank(tuple(names))


@dataclass(frozen=True)
class _Rank:
    """Sort key: place in a list, then the name of what is not in it."""

    names: tuple[str, ...]

    def __call__(self, name: str) -> tuple[int, str]:
        return (self.names.index(name) if name in self.names else len(self.names), name)
