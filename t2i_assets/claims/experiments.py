"""Each experiment: what it needs of the graph, and how its finding is drawn from what lies there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from t2i_assets.claims import ablation, captions, diffusion, drawings, filtering, sweep, trials
from t2i_assets.claims.claim import Finding
from t2i_assets.claims.config import ABLATION, ClaimsConfig, ablation_name, sweep_name
from t2i_assets.claims.scored import Arm, Scores
from t2i_assets.config import Settings
from t2i_assets.corpus.artifacts import Artifact, list_refs, read_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import CAPTIONS, EVALS, SCORES
from t2i_assets.corpus.tables import read_rows
from t2i_assets.corpus.verdicts import alt_captions, alt_labels
from t2i_assets.synthweb.known import Known, read_truth

METRICS = ("clip_score", "fid", "t2i_compbench")
DESCRIPTIVE = "synthetic_descriptive"
Row = Mapping[str, Any]
Needs = Mapping[str, Sequence[str] | None]
"""Names of assets, with the partitions that are needed; None for all that there are."""


@dataclass(frozen=True)
class Evidence:
    """What lies in the home, read for the experiments."""

    home: Home
    settings: Settings

    @property
    def seeds(self) -> range:
        """Seeds of captioners and filters."""
        return range(self.settings.claims.capfilt_seeds) if self.settings.claims else range(0)

    def artifacts(self, needs: Needs) -> dict[str, Mapping[str, Artifact]]:
        """Return the needed partitions of each asset. Raises MissingArtifactError where one was never made."""
        return {
            asset: list_refs(self.home, asset)
            if partitions is None
            else {partition: read_ref(self.home, asset, partition) for partition in partitions}
            for asset, partitions in needs.items()
        }

    def rows(self, schema: pa.Schema, file: str, asset: str, partition: str = "_") -> list[dict[str, Any]]:
        """Return the rows of a table of an artifact; ``file`` may be empty for all of its tables."""
        return read_rows(read_ref(self.home, asset, partition).path / file, schema)

    def scored(self, recipe: str, *metrics: str) -> list[dict[str, Any]]:
        """Return the EVALS rows of a recipe."""
        return [row for metric in metrics for row in self.rows(EVALS, "scores.parquet", metric, recipe)]

    def shards(self) -> tuple[str, Artifact]:
        """Return the snapshot that is the corpus of the experiments, and its shards."""
        assert self.settings.claims is not None
        snapshot = self.settings.claims.snapshot
        return snapshot, read_ref(self.home, "shards", snapshot)

    def truth(self) -> Known:
        """Return what the pictures of the crawl show."""
        return read_truth(read_ref(self.home, "site_truth").path / "truth.parquet")

    def exact(self) -> dict[str, str]:
        """Return the exact caption of every held-out picture by key."""
        rows = self.rows(CAPTIONS, "heldout/captions.parquet", "evaluation_set")
        return {row["key"]: row["caption"] for row in rows if '"descriptive"' in row["decode"]}

    def shown(self) -> dict[str, Any]:
        """Return the facts of every held-out picture by key."""
        return {key: captions.facts_of(text) for key, text in self.exact().items()}

    def heldout(self, method: str, seed: int) -> list[dict[str, Any]]:
        """Return the descriptive captions of a trial, in order of key."""
        rows = self.rows(CAPTIONS, "", "heldout_captions", trials.name(method, seed))
        return sorted((row for row in rows if row["source"] == DESCRIPTIVE), key=lambda row: row["key"])

    def heldout_scores(self, method: str, seed: int) -> list[dict[str, Any]]:
        """Return the SCORES rows of a trial."""
        return self.rows(SCORES, "", "heldout_scores", trials.name(method, seed))

    def heldout_clip_scores(self, method: str, seed: int) -> list[dict[str, Any]]:
        """Return the SCORES rows of a trial by the independent CLIP."""
        return self.rows(SCORES, "", "heldout_clip_scores", trials.name(method, seed))

    def drawn(self, arms: Mapping[Arm, str]) -> Scores[Arm]:
        """Return the scores of drawings, by arm."""
        config = self.settings.claims
        assert config is not None
        tables = {
            arm: [
                self.scored(drawings.name(of, seed), *(f"drawing_{metric}" for metric in METRICS))
                for seed in range(config.drawing_seeds)
            ]
            for arm, of in arms.items()
        }
        return Scores(tables, config)

    def prior(self, kind: drawings.Prior, seed: int) -> Artifact:
        """Return the prior of a kind and seed; that of seed 0 is the pipeline's own."""
        if seed:
            return read_ref(self.home, "prior_replicate", drawings.name(kind, seed))
        return read_ref(self.home, kind, self.settings.text_encoder_recipe)


def filter_finding(evidence: Evidence) -> Finding:
    """Return what the filters did to alt texts and to synthetic captions."""
    assert evidence.settings.claims is not None
    rules, known = evidence.settings.verdicts, evidence.truth()
    snapshot, images = evidence.shards()
    texts = [row for row in alt_captions(images.path) if row["key"] in known.scenes]
    scores = [evidence.rows(SCORES, "", "caption_scores", snapshot)]
    scores += [evidence.rows(SCORES, "", "alt_text_scores", str(seed)) for seed in evidence.seeds[1:]]
    alt = filtering.against_truth(
        [texts] * len(scores),
        scores,
        lambda row: known.is_right(row["key"], row["caption"], row["source"]),
        alt_labels(images.path),
        rules,
    )
    shown = evidence.shown()
    synthetic = filtering.against_truth(
        [evidence.heldout("nucleus", seed) for seed in evidence.seeds],
        [evidence.heldout_scores("nucleus", seed) for seed in evidence.seeds],
        lambda row: captions.is_right(row["caption"], shown[row["key"]]),
        {},
        rules,
    )
    return filtering.finding(alt, synthetic, rules.itm_threshold, evidence.settings.claims)


def caption_finding(evidence: Evidence) -> Finding:
    """Return what is right of synthetic captions, alt texts beside them."""
    assert evidence.settings.claims is not None
    shown, exact, known = evidence.shown(), evidence.exact(), evidence.truth()
    synthetic = [
        captions.written(
            f"descriptive captions, {method}",
            [{row["key"]: row["caption"] for row in evidence.heldout(method, seed)} for seed in evidence.seeds],
            shown,
            exact,
            [evidence.heldout_clip_scores(method, seed) for seed in evidence.seeds],
        )
        for method in trials.DECODINGS
    ]
    _, images = evidence.shards()
    sentences = {
        row["key"]: row["caption"]
        for row in alt_captions(images.path)
        if row["key"] in known.scenes and captions.facts_of(row["caption"]) is not None
    }
    scenes = {key: captions.facts_shown(known.scenes[key]) for key in sentences}
    return captions.finding(
        synthetic, captions.written("alt texts that are sentences", [sentences], scenes, {}), evidence.settings.claims
    )


def ablation_finding(evidence: Evidence) -> Finding:
    """Return the 2×2 of captioner and filter."""
    config = evidence.settings.claims
    assert config is not None
    tables = {
        arm: [evidence.scored(ablation_name(arm, seed), "clip_retrieval") for seed in range(config.clip_seeds)]
        for arm in ABLATION
    }
    return ablation.retrieval(tables, config)


def rejection_finding(evidence: Evidence) -> Finding:
    """Return what filters reject by way of decoding, and by sharing of weights."""
    assert evidence.settings.claims is not None
    threshold, shown = evidence.settings.verdicts.itm_threshold, evidence.shown()

    def rejected(rows: Sequence[Row], scores: Iterable[Row]) -> list[float]:
        itm = {row["caption_id"]: row["value"] for row in scores if row["kind"] == "itm"}
        return [float(itm[row["caption_id"]] < threshold) for row in rows]

    def wrong(rows: Sequence[Row]) -> list[float]:
        return [float(not captions.is_right(row["caption"], shown[row["key"]])) for row in rows]

    rejections: dict[str, list[list[float]]] = {}
    errors: dict[str, list[list[float]]] = {}
    for method in ("nucleus", "beam"):
        for seed in evidence.seeds:
            rows = evidence.heldout(method, seed)
            rejections.setdefault(method, []).append(rejected(rows, evidence.heldout_scores(method, seed)))
            errors.setdefault(method, []).append(wrong(rows))
    for weights in ("separate", "shared"):
        for seed in evidence.seeds:
            rows = evidence.rows(CAPTIONS, f"captions/{weights}.parquet", "capfilt_sharing", str(seed))
            rows = sorted(rows, key=lambda row: row["key"])
            scores = evidence.rows(SCORES, f"scores/{weights}.parquet", "capfilt_sharing", str(seed))
            rejections.setdefault(weights, []).append(rejected(rows, scores))
            errors.setdefault(weights, []).append(wrong(rows))
    return ablation.rejections(
        {name: np.array(values) for name, values in rejections.items()},
        {name: np.array(values) for name, values in errors.items()},
        evidence.settings.claims,
    )


def sweep_finding(evidence: Evidence) -> Finding:
    """Return the blend sweep."""
    config = evidence.settings.claims
    assert config is not None
    tables = {
        (style, share): [
            evidence.scored(sweep_name(style, share, seed), *METRICS) for seed in range(config.diffusion_seeds)
        ]
        for style in config.styles
        for share in config.shares
        if share or style == config.styles[0]
    }
    return sweep.finding(Scores(tables, config))


def guidance_finding(evidence: Evidence) -> Finding:
    """Return what guidance gives and costs."""
    assert evidence.settings.claims is not None
    scales = evidence.settings.claims.guidance_scales
    return diffusion.guidance_finding(evidence.drawn({scale: drawings.guidance(scale) for scale in scales}))


def objectives_finding(evidence: Evidence) -> Finding:
    """Return which objective of diffusion learns most."""
    return diffusion.objectives_finding(evidence.drawn({arm: arm for arm in drawings.OBJECTIVES}))


def priors_finding(evidence: Evidence) -> Finding:
    """Return what a prior is for."""
    scores = evidence.drawn({condition: drawings.unclip(condition) for condition in drawings.CONDITIONS})
    figures: dict[str, list[Mapping[str, Any]]] = {
        kind: [evidence.prior(kind, seed).manifest.summary for seed in range(scores.seeds)] for kind in drawings.PRIORS
    }
    return diffusion.priors_finding(scores, figures)


@dataclass(frozen=True)
class Experiment:
    """One finding: what it tries, how it is drawn, what must be there, and which models it rests on.

    ``models`` tells for each section of the settings which field of the claims' says at how many seeds; None for one.
    """

    tries: str
    find: Callable[[Evidence], Finding]
    needs: Callable[[Settings], Needs]
    models: Mapping[str, str | None]


TRIALS: Needs = {"evaluation_set": None, "heldout_captions": None}
TRUTH: Needs = {"site_truth": None, "shards": None}

CAPFILT = {"captioner": "capfilt_seeds", "caption_filter": "capfilt_seeds"}

JUDGES = dict.fromkeys(("autoencoder", "judge", "evaluation_clip"))


def drawing_scores(arms: Callable[[ClaimsConfig], Iterable[str]]) -> Callable[[Settings], Needs]:
    """Return the need for the scores of the drawings of some arms, at every seed."""

    def needs(settings: Settings) -> Needs:
        config = settings.claims
        seeds = range(config.drawing_seeds) if config else range(0)
        named = [drawings.name(arm, seed) for arm in (arms(config) if config else ()) for seed in seeds]
        return {f"drawing_{metric}": named for metric in METRICS}

    return needs


def prior_needs(settings: Settings) -> Needs:
    """Return the need for priors and for what is drawn from them."""
    scores = drawing_scores(lambda _: map(drawings.unclip, drawings.CONDITIONS))(settings)
    own: dict[str, Sequence[str]] = {kind: [settings.text_encoder_recipe] for kind in drawings.PRIORS}
    return {**scores, **own, "prior_replicate": None}


EXPERIMENTS: dict[str, Experiment] = {
    "filter": Experiment(
        "The filter against the truth: what it takes out, what it leaves.",
        filter_finding,
        lambda _: {**TRUTH, **TRIALS, "caption_scores": None, "alt_text_scores": None, "heldout_scores": None},
        CAPFILT,
    ),
    "captions": Experiment(
        "Synthetic captions of held-out pictures, fact by fact.",
        caption_finding,
        lambda _: {**TRUTH, **TRIALS, "heldout_clip_scores": None},
        {"captioner": "capfilt_seeds", "evaluation_clip": None},
    ),
    "ablation": Experiment(
        "BLIP's 2×2: retrieval by CLIPs trained with captioner and filter on and off.",
        ablation_finding,
        lambda settings: {"clip_retrieval": list(settings.claims.ablation() if settings.claims else ())},
        {"captioner": None, "caption_filter": None, "clip": "clip_seeds"},
    ),
    "rejections": Experiment(
        "What filters reject: of nucleus samples and beams, with weights shared and apart.",
        rejection_finding,
        lambda _: {**TRIALS, "heldout_scores": None, "capfilt_sharing": None},
        {**CAPFILT, "sharing": "capfilt_seeds"},
    ),
    "sweep": Experiment(
        "DALL·E 3's blend sweep: shares and styles of synthetic captions.",
        sweep_finding,
        lambda settings: {metric: list(settings.claims.sweep() if settings.claims else ()) for metric in METRICS},
        {
            **dict.fromkeys(("captioner", "clip", "autoencoder", "judge", "evaluation_clip")),
            "diffusion": "diffusion_seeds",
        },
    ),
    "guidance": Experiment(
        "The trade-off of guidance: how well captions are followed against how real pictures look.",
        guidance_finding,
        drawing_scores(lambda config: map(drawings.guidance, config.guidance_scales)),
        {"clip": None, **JUDGES, "diffusion": "drawing_seeds"},
    ),
    "objectives": Experiment(
        "Epsilon, v and flow matching at the same steps.",
        objectives_finding,
        drawing_scores(lambda _: drawings.OBJECTIVES),
        {"clip": None, **JUDGES, "diffusion": "drawing_seeds"},
    ),
    "priors": Experiment(
        "What the priors of DALL·E 2 are for: pictures from each, from the text embedding, from the caption alone.",
        priors_finding,
        prior_needs,
        {
            **{"clip": None, **JUDGES, "diffusion": "drawing_seeds"},
            **dict.fromkeys(("diffusion_prior", "autoregressive_prior"), "drawing_seeds"),
        },
    ),
}
