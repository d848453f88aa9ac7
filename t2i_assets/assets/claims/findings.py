"""What each experiment found, as an asset: its claims with their verdicts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.assets.claims.group import CONFIG, GROUP
from t2i_assets.claims.budget import budget
from t2i_assets.claims.experiments import EXPERIMENTS, Evidence, Experiment
from t2i_assets.claims.pages import as_markdown_claims, dump
from t2i_assets.config import load_settings
from t2i_assets.corpus.word_lists import read_word_lists
from t2i_assets.materialize import Result, materialize
from t2i_assets.resources import Pipeline


def _finding(name: str, experiment: Experiment) -> dg.AssetsDefinition:
    needs = experiment.needs(load_settings())

    def dependency(asset: str, partitions: Any) -> dg.AssetDep:
        mapping = None if partitions is None else dg.SpecificPartitionsPartitionMapping(list(partitions))
        return dg.AssetDep(asset, partition_mapping=mapping)

    @dg.asset(
        name=f"{name}_finding",
        description=experiment.tries,
        **GROUP,
        deps=[dependency(asset, partitions) for asset, partitions in needs.items()],
        code_version="3",
        kinds={"json"},
    )
    def finding(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Result:
        evidence = Evidence(pipeline.place, pipeline.settings)
        rules = pipeline.settings.verdicts

        def write(out: Path) -> dict[str, Any]:
            found = replace(experiment.find(evidence), budget=budget(pipeline.settings, experiment.models))
            (out / "finding.json").write_text(dump(found))
            return {claim.name: f"{claim.verdict}: {claim.effect}" for claim in found.claims}

        return materialize(
            context,
            pipeline,
            path=lambda digest: pipeline.place.evals(f"{name}_finding", digest),
            config={
                "claims": CONFIG.model_dump(mode="json"),
                "verdicts": rules.model_dump(mode="json"),
                "word_lists": [words.identity for words in read_word_lists(rules.word_lists)],
            },
            inputs={
                f"{asset}/{partition}": artifact
                for asset, found in evidence.artifacts(needs).items()
                for partition, artifact in found.items()
            },
            write=write,
            show=lambda artifact: {"claims": dg.MetadataValue.md(as_markdown_claims(artifact.path / "finding.json"))},
        )

    return finding


assets = [_finding(name, experiment) for name, experiment in EXPERIMENTS.items()]
