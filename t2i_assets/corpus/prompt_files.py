"""Prompts of published benchmarks, read from their own files by path, as rows of PROMPTS.

* T2I-CompBench (Huang et al. 2023): a directory of ``{category}_{train,val}.txt``, one prompt per line; which parts a
  complex prompt has stands in ``complex_{split}_spatial.txt``, ``…_action.txt`` and ``…_spatialaction.txt`` beside it.
* GenEval (Ghosh et al. 2023): JSON lines with ``tag``, ``prompt``, ``include`` and ``exclude``.
* DrawBench (Saharia et al. 2022): CSV with the columns ``Prompts`` and ``Category``; no rule scores it.

What a prompt of GenEval asks for is said by its file; of the others the scoring job reads it from the text.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2i_assets.corpus.digests import digest

STYLE = "benchmark"
COMPBENCH = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
PARTS = {"spatial": ["spatial"], "action": ["action"], "spatialaction": ["spatial", "action"]}
Row = dict[str, Any]


def read_compbench(directory: Path, split: str, limit: int | None) -> Iterator[Row]:
    """Yield the prompts of the categories whose files are in the directory, up to ``limit`` of each.

    Raises ValueError where there is no such file.
    """
    files = {category: directory / f"{category}_{split}.txt" for category in COMPBENCH}
    there = {category: path for category, path in files.items() if path.is_file()}
    if not there:
        raise ValueError(f"{directory} has no prompts of T2I-CompBench: no file named {{category}}_{split}.txt")
    parts = {
        prompt: named for kind, named in PARTS.items() for prompt in _lines(directory / f"complex_{split}_{kind}.txt")
    }
    for category, path in there.items():
        for number, prompt in enumerate(_lines(path)[:limit]):
            facts = {"parts": parts.get(prompt, ["spatial", "action"])} if category == "complex" and parts else {}
            yield _row(f"t2i-compbench-{category}-{number:04d}", category, prompt, facts)


def read_geneval(path: Path, limit: int | None) -> Iterator[Row]:
    """Yield the prompts of GenEval, up to ``limit`` of each task. Raises ValueError naming a line that is none."""
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            value = json.loads(line)
            tag, prompt, facts = value["tag"], value["prompt"], _declared(value)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path}, line {number}: not a prompt of GenEval ({error!r})") from error
        seen[tag] = seen.get(tag, 0) + 1
        if limit is None or seen[tag] <= limit:
            yield _row(f"geneval-{number:04d}", f"geneval_{tag}", prompt, facts)


def read_drawbench(path: Path, limit: int | None) -> Iterator[Row]:
    """Yield the prompts of a CSV like DrawBench's, up to ``limit`` of each category.

    Raises ValueError where a column is missing.
    """
    seen: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"Prompts", "Category"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} must have the columns Prompts and Category, as DrawBench has")
        for number, row in enumerate(rows):
            category = "drawbench_" + re.sub(r"\W+", "_", row["Category"].strip().lower()).strip("_")
            seen[category] = seen.get(category, 0) + 1
            if limit is None or seen[category] <= limit:
                yield _row(f"drawbench-{number:04d}", category, row["Prompts"].strip(), {})


def _declared(value: Row) -> Row:
    """Return GenEval's clauses as facts: objects in their order, the one relation, and what is excluded."""
    objects, relation = [], None
    for place, clause in enumerate(value["include"]):
        objects.append({"shape": clause["class"], "color": clause.get("color"), "count": clause.get("count", 1)})
        if "position" in clause:
            kind, target = clause["position"]
            relation = {"kind": kind, "subject": place, "object": int(target)}
    if not objects:
        raise ValueError("nothing is included")
    excluded = [{"shape": clause["class"], "count": clause["count"]} for clause in value.get("exclude", ())]
    return {"objects": objects, "relation": relation, "excluded": excluded}


def _lines(path: Path) -> list[str]:
    """Return the lines of a file that are not empty; none where there is no file."""
    if not path.is_file():
        return []
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _row(scene_id: str, category: str, prompt: str, facts: Row) -> Row:
    return {
        "prompt_id": digest([STYLE, prompt, scene_id]),
        "scene_id": scene_id,
        "style": STYLE,
        "category": category,
        "prompt": prompt,
        "facts": json.dumps(facts),
        "reference_key": None,
    }
