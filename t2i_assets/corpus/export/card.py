"""The README.md of an export: what it holds, from what it was made, and who allowed it."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.export.rows import Drawn

_FRONT = {
    "webdataset": "configs:\n- config_name: default\n  data_files: '*.tar'\n",
    "imagefolder": "",
    "parquet": "configs:\n- config_name: default\n  data_files: 'train-*.parquet'\n",
}


@dataclass
class Counts:
    """What went into an export and what did not."""

    samples: int
    epochs: int
    left_out: dict[str, int]
    captions: Counter[str] = field(default_factory=Counter)
    consent: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Drawn) -> None:
        self.captions[sample.about["caption_source"]] += 1
        self.consent[sample.about["consent"]] += 1
        self.licences["with a licence link" if sample.about["license_url"] else "without a licence link"] += 1


def write_card(
    out: Path, form: str, blend: Artifact, shards: Mapping[str, Artifact], counts: Counts, seed: int
) -> None:
    """Write the data set card; it depends on the data alone."""
    snapshots = "\n".join(
        f"| {name} | `{shard.digest}` | `{shard.manifest.output_digest}` |" for name, shard in shards.items()
    )
    text = f"""---
{_FRONT[form]}task_categories:
- text-to-image
license: other
---
# {blend.manifest.partition}

{counts.samples} images, {counts.samples * counts.epochs} rows: each image once in each of {counts.epochs} epochs.
Captions were drawn by the hash of (seed, epoch, key) with seed {seed}, as the trainers of t2i-assets draw them.

## Rows by caption source

{_table(counts.captions)}
## Left out, by reason

{_table(counts.left_out)}
## Recipe

Blend `{blend.digest}`:

```json
{json.dumps(blend.manifest.config, indent=1, sort_keys=True)}
```

## Snapshots

| snapshot | digest | digest of the files |
| --- | --- | --- |
{snapshots}

## Licence and consent

Each image belongs to its owner. `license_url` is the licence link of the page that showed it, `consent` what allowed
the fetch, `image_url` and `page_url` where it stood. No licence is granted for images without a link. Rows:

{_table(counts.consent + counts.licences)}"""
    (out / "README.md").write_text(text, encoding="utf-8")


def _table(counts: Mapping[str, int]) -> str:
    rows = "".join(f"| {name} | {count} |\n" for name, count in sorted(counts.items()))
    return f"| | count |\n| --- | --- |\n{rows}"
