"""Are synthetic captions right, and do they say more than the web does? Fact by fact, on pictures never seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.caption_metrics.bleu import bleu_of
from evaluation.caption_metrics.evaluate import TextScores, evaluate_captions
from evaluation.caption_metrics.scenes import Judged, judge_caption
from t2i_assets.claims.claim import Claim, Finding
from t2i_assets.claims.config import ClaimsConfig
from t2i_assets.claims.statistics import Effect, Statistic, estimate, mean_of, ratio_of
from t2i_assets.synthweb.language import read, say_all
from t2i_assets.synthweb.scenes import Scene

FACETS = ("color", "shape", "texture", "count", "relation", "background")
WANTED_PRECISION = 0.9
OURS = "the bar is ours; the idea is Betker et al. 2023 (DALL·E 3), section 2"

CLIP_METRICS = {"CLIPScore": "clip_s", "RefCLIPScore": "ref_clip_s"}

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Written:
    """Texts of each seed about the same pictures, judged, [S][C]; where there are references, with their scores.

    ``by_clip`` holds what the independent CLIP says by kind of score, [S][C].
    """

    name: str
    judged: Sequence[Sequence[Judged]]
    texts: Sequence[TextScores] = ()
    by_clip: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        return len(self.judged), len(self.judged[0])

    def precision(self, facet: str) -> Statistic:
        """Return the statistic: of what is stated, the share that is true."""
        return ratio_of(self._counts(facet, "right"), self._counts(facet, "stated"))

    def recall(self, facet: str) -> Statistic:
        """Return the statistic: of what is shown, the share that is told."""
        return ratio_of(self._counts(facet, "told"), self._counts(facet, "shown"))

    def share(self, holds: str) -> Statistic:
        """Return the statistic: the share of captions of which a property of ``Judged`` holds."""
        return mean_of(np.array([[float(bool(getattr(one, holds))) for one in of_seed] for of_seed in self.judged]))

    def likeness(self) -> dict[str, Statistic]:
        """Return the statistics of likeness to references and pictures by name; none without references."""
        told = {name: mean_of(np.array(self.by_clip[kind])) for name, kind in CLIP_METRICS.items() if self.by_clip}
        if not self.texts:
            return told
        counts = np.array([of_seed.bleu_counts for of_seed in self.texts], dtype=float)
        return {
            "CIDEr-D": mean_of(np.array([of_seed.cider_d for of_seed in self.texts])),
            "BLEU-4": lambda s, c: float(bleu_of(np.einsum("s,c,scn->n", s, c, counts))[-1]),
            "ROUGE-L": mean_of(np.array([of_seed.rouge_l for of_seed in self.texts])),
            **told,
        }

    def _counts(self, facet: str, what: str) -> np.ndarray:
        return np.array([[getattr(one.facets[facet], what) for one in of_seed] for of_seed in self.judged], dtype=float)


def written(
    name: str,
    captions_of_seed: Sequence[Mapping[str, str]],
    shown: Mapping[str, Facts],
    exact: Mapping[str, str],
    scores_of_seed: Sequence[Sequence[Mapping[str, Any]]] = (),
) -> Written:
    """Judge each seed's captions, by key, against what their pictures show; ``exact`` are the references by key.

    ``scores_of_seed`` are each seed's SCORES by the independent CLIP.
    """
    keys = sorted(set(shown) & set(captions_of_seed[0]))
    judged = [[judge_caption(facts_of(captions[key]), shown[key]) for key in keys] for captions in captions_of_seed]
    texts = [
        evaluate_captions({key: captions[key] for key in keys}, {key: [exact[key]] for key in keys})
        for captions in captions_of_seed
        if set(keys) <= set(exact)
    ]
    values = [{(row["kind"], row["key"]): row["value"] for row in rows} for rows in scores_of_seed]
    by_clip = {kind: [[of_seed[kind, key] for key in keys] for of_seed in values] for kind in CLIP_METRICS.values()}
    return Written(name, judged, texts, by_clip if values else {})


def facts_of(text: str) -> Facts | None:
    """Return what an English text says as JSON values; None where it is not a sentence of the site's grammar."""
    statement = read(text)
    return None if statement is None else statement.facts()


def is_right(text: str, shown: Facts) -> bool:
    """Return whether a text can be read and states nothing false."""
    judged = judge_caption(facts_of(text), shown)
    return judged.readable and not judged.wrong


def facts_shown(scene: Scene) -> Facts:
    """Return all that can be said about a scene as JSON values."""
    return say_all(scene).facts()


def finding(synthetic: Sequence[Written], alt: Written, config: ClaimsConfig) -> Finding:
    """Return what is right of the captions; the first of ``synthetic`` is how the pipeline writes them."""
    ours = synthetic[0]
    lowest = _lowest(ours)

    def claim(name: str, statement: str, measure: str, effect: Effect, bound: float, source: str = OURS) -> Claim:
        seeds, pictures = ours.size
        return Claim(
            name=name,
            statement=statement,
            source=source,
            compared=f"{ours.name} of held-out pictures against what these show",
            measure=measure,
            effect=effect,
            seeds=seeds,
            clusters=f"{pictures} held-out pictures",
            bound=bound,
        )

    return Finding(
        name="captions",
        title="What synthetic captions say, and whether it is true",
        setup="Each seed's captioner describes held-out renders of the evaluation set, of which no model has seen "
        "anything. Captions are read back into facts, matched thing by thing with what the picture shows. Alt texts "
        "are those of the crawl that are sentences about a scene.",
        claims=[
            claim(
                "attributes_are_right",
                "Descriptive captions name colours, shapes and textures right",
                "precision of attributes",
                _told(ours.precision("attribute"), ours, config),
                WANTED_PRECISION,
            ),
            claim(
                "every_facet_is_right",
                "So they do for each kind of fact: colour, shape, texture, count, relation, background",
                "lowest of the six precisions",
                _told(lowest, ours, config),
                WANTED_PRECISION,
            ),
            Claim(
                name="captions_say_more",
                statement="They tell more of what a picture shows than alt texts do",
                source="Betker et al. 2023 (DALL·E 3), section 2",
                compared=f"{ours.name} against alt texts that are sentences",
                measure="recall of attributes, synthetic − alt",
                effect=_gain(ours, alt, config),
                seeds=ours.size[0],
                clusters=f"{ours.size[1]} held-out pictures, {alt.size[1]:,} alt texts",
            ),
        ],
        columns=(
            *("texts", *FACETS, "attribute recall", "object not there", "any fact wrong", "unreadable"),
            *("CIDEr-D", "BLEU-4", "ROUGE-L", *CLIP_METRICS),
        ),
        rows=[_row(one, config) for one in (*synthetic, alt)],
        notes=(
            "Columns of facts are precisions. CIDEr-D (0 to 10), BLEU-4, ROUGE-L (0 to 1) and RefCLIPScore have one "
            "reference, the exact caption in its plainest wording. CLIPScore is 2.5·cos, by the CLIP of the evaluation "
            "set, which took no part in captioning.",
        ),
    )


def _lowest(ours: Written) -> Statistic:
    statistics = [ours.precision(facet) for facet in FACETS]
    return lambda s, c: min(statistic(s, c) for statistic in statistics)


def _gain(ours: Written, alt: Written, config: ClaimsConfig) -> Effect:
    """Return the difference of recalls; the two sets of pictures are resampled apart, so their variances add."""
    one, other = (_told(text.recall("attribute"), text, config) for text in (ours, alt))
    value = one.value - other.value
    below = np.hypot(one.value - one.low, other.high - other.value)
    above = np.hypot(one.high - one.value, other.value - other.low)
    return Effect(value, float(value - below), float(value + above))


def _row(text: Written, config: ClaimsConfig) -> dict[str, Any]:
    """Return a line of the table."""
    unreadable = np.array([[float(not one.readable) for one in of_seed] for of_seed in text.judged])
    statistics = {facet: text.precision(facet) for facet in FACETS}
    statistics["attribute recall"] = text.recall("attribute")
    statistics["object not there"] = text.share("hallucinated")
    statistics["any fact wrong"] = text.share("wrong")
    statistics["unreadable"] = mean_of(unreadable)
    statistics |= text.likeness()
    return {"texts": text.name, **{name: _told(statistic, text, config) for name, statistic in statistics.items()}}


def _told(statistic: Statistic, text: Written, config: ClaimsConfig) -> Effect:
    return estimate(statistic, *text.size, config)
