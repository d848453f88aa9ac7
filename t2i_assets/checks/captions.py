"""Checks of captions that warn: a captioner's tics, and a filter that agrees too much."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from t2i_assets.assets.capfilt import filtered_captions
from t2i_assets.assets.caption_report import caption_report
from t2i_assets.checks.config import CaptionReportConfig
from t2i_assets.corpus.schemas import CAPTION_TICS
from t2i_assets.corpus.source_tics import SourceTics, reference_of, source_tics
from t2i_assets.corpus.tables import read_rows
from t2i_assets.materialize import made
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Pipeline

if TYPE_CHECKING:
    from t2i_assets.corpus.filter_agreement import Agreement

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Measured:
    """One figure of one source beside its bound; ``above`` says that the bound is the largest that is well."""

    source: str
    what: str
    value: float
    bound: float
    above: bool = True

    @property
    def within(self) -> bool:
        return self.value <= self.bound if self.above else self.value >= self.bound

    def __str__(self) -> str:
        return f"{self.source}: {self.what} {_percent(self.value)} (bound: {self._limit} {_percent(self.bound)})"

    @property
    def _limit(self) -> str:
        return "at most" if self.above else "at least"

    def cells(self) -> dict[str, Any]:
        """Return the row of a table."""
        return {
            "source": self.source,
            "what": self.what,
            "value": self.value,
            "bound": f"{self._limit} {self.bound:g}",
            "within": "yes" if self.within else "no",
        }


@dg.asset_check(asset=caption_report)
def captions_without_tics(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """No opening prevails, few captions repeat, are cut off, too short or too long, and case, endings and variety are
    like people's: else the model learns these tics.

    It warns. Mend the human captions that the captioner is finetuned on, or its decoding, before the blend leans on it.
    """
    artifact = made(pipeline, "caption_report", context.partition_key)
    sources = source_tics(read_rows(artifact.path / "tics.parquet", CAPTION_TICS))
    return result(list(tics(sources, pipeline.settings.caption_report)), "the captions have tics that a model learns")


@dg.asset_check(asset=filtered_captions)
def filter_does_not_agree_too_much(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """A filter that hardly ever says no to its captioner has learned the same mistakes, or its threshold lies too low.

    It warns. Either the captions are that good (``t2i report`` and claims compare them with people's), or: train filter
    and captioner apart, raise ``verdicts.itm_threshold``, or ask an independent CLIP (``verdicts.clip_threshold``).
    """
    from t2i_assets.corpus.filter_agreement import filter_agreement  # here: DuckDB takes a third of a second to import

    snapshot, config = context.partition_key, pipeline.settings.caption_report
    verdicts, scores = (made(pipeline, asset, snapshot).path for asset in ("filtered_captions", "caption_scores"))
    judged, scored = (sorted(path.glob("[0-9]*.parquet")) for path in (verdicts, scores))
    agreements = filter_agreement(judged, scored, config.certain)
    return result(list(disagreement(agreements, config)), "the filter agrees with the captioner too much")


def tics(sources: Sequence[SourceTics], config: CaptionReportConfig) -> Iterator[Measured]:
    """Yield what is bounded of every synthetic source that stands now."""
    for ours in sources:
        if not ours.synthetic or not ours.current:
            continue
        opening = ours.commonest("opening_3")
        if opening is not None:
            yield Measured(ours.source, f"“{opening[0]} …” opens", opening[1], config.max_opening)
        yield Measured(ours.source, "cut off are", ours.figures["cut_off"], config.max_cut_off)
        short = sum(share for words, share in ours.lengths.items() if words < config.short_words)
        yield Measured(ours.source, f"fewer than {config.short_words} words have", short, config.max_short)
        long = sum(share for words, share in ours.lengths.items() if words > config.long_words)
        yield Measured(ours.source, f"more than {config.long_words} words have", long, config.max_long)
        yield from _beside_people(ours, reference_of(ours, sources), config)


def _beside_people(ours: SourceTics, people: Sequence[SourceTics], config: CaptionReportConfig) -> Iterator[Measured]:
    """Yield what is bounded by how people write: case, endings, pairs of words and repeats."""
    if not people:
        return
    bounds = {"case": config.max_case_from_people, "ending": config.max_ending_from_people}
    for tic, bound in bounds.items():
        distances = [distance for other in people if (distance := ours.distance(other, tic)) is not None]
        if distances:
            yield Measured(ours.source, f"the {tic} differs from people's in", min(distances), bound)
    variety = min(other.figures.get("compared_distinct_2") or 0.0 for other in people)
    if variety and "compared_distinct_2" in ours.figures:
        part = ours.figures["compared_distinct_2"] / variety
        what = "the variety of pairs of words as a part of people's is"
        yield Measured(ours.source, what, part, config.min_pairs_to_people, above=False)
    repeats = max(other.figures["compared_repeats"] for other in people)
    excess = ours.figures["compared_repeats"] - repeats
    what = f"repeats, beyond people's {_percent(repeats)}, are"
    yield Measured(ours.source, what, excess, config.max_repeats_over_people)


def disagreement(agreements: Sequence["Agreement"], config: CaptionReportConfig) -> Iterator[Measured]:
    """Yield what is bounded of the filter's say on every synthetic source."""
    alt = next((found for found in agreements if found.source == "alt"), None)
    for found in agreements:
        if not found.source.startswith(SYNTHETIC):
            continue
        yield Measured(found.source, "the filter rejects", found.rejected, config.min_rejected, above=False)
        what = f"it is certain (ITM {config.certain:g} and more) of"
        yield Measured(found.source, what, found.certain, config.max_certain)
        if alt is not None and alt.rejected:
            what = f"its rejection rate as a part of that of alt texts ({_percent(alt.rejected)}) is"
            part = found.rejected / alt.rejected
            yield Measured(found.source, what, part, config.min_rejected_to_alt, above=False)


def result(measured: Sequence[Measured], meaning: str) -> dg.AssetCheckResult:
    """Return a result that warns of every figure out of its bound, in words, with what it may mean."""
    outside = [str(figure) for figure in measured if not figure.within]
    if not measured:
        said = "There is no synthetic caption to measure."
    elif outside:
        said = f"Perhaps {meaning}. {'; '.join(outside)}."
    else:
        said = f"All {len(measured)} figures are within their bounds."
    return dg.AssetCheckResult(
        passed=bool(measured) and not outside,
        severity=dg.AssetCheckSeverity.WARN,
        description=said,
        metadata={"figures": rows_table(figure.cells() for figure in measured)},
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
