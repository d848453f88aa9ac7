"""Prompts of published benchmarks, read from their own files by path, as rows of PROMPTS.

* T2I-CompBench (Huang et al. 2023): a directory of ``{category}_{train,val}.txt``, one prompt per line; which parts a
  complex prompt has stands in ``complex_{split}_spatial.txt``, ``…_action.txt`` and ``…_spatialaction.txt`` beside it.
* GenEval (Ghosh et al. 2023): JSON lines with ``tag``, ``prompt``, ``include`` and ``exclude``.
* DrawBench (Saharia et al. 2022): CSV with the columns ``Prompts`` and ``Category``; no rule scores it.

What a prompt of GenEval asks for is said by its file; of the others the scoring job reads it from the text. Each
benchmark is a style of its own. A prompt is known by its text, not by its line: a new line makes no other prompt new.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.geneval_prompts import declared_prompt

COMPBENCH, GENEVAL, DRAWBENCH = "t2i_compbench", "geneval", "drawbench"
COMPBENCH_CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
PARTS = {"spatial": ["spatial"], "action": ["action"], "spatialaction": ["spatial", "action"]}
Row = dict[str, Any]


class PromptFilesConfig(BaseModel):
    """Prompts of published benchmarks, by path; they have no real pictures, so no ceiling and no floor.

    A path is whole or begins with ``~``: a relative one would be another file for each process that reads it. Whether
    something lies there is asked when the prompts are read, so that a disk that is away stops nothing else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    compbench: Path | None = Field(default=None, description="Directory of T2I-CompBench's {category}_{split}.txt.")
    split: Literal["val", "train"] = Field(default="val", description="Split of T2I-CompBench.")
    geneval: Path | None = Field(default=None, description="GenEval's evaluation_metadata.jsonl.")
    drawbench: Path | None = Field(default=None, description="CSV with the columns Prompts and Category.")
    limit: int | None = Field(default=None, gt=0, description="Most prompts of a category; null takes all.")

    @field_validator("compbench", "geneval", "drawbench")
    @classmethod
    def _whole(cls, path: Path | None) -> Path | None:
        whole = None if path is None else path.expanduser()
        if whole is not None and not whole.is_absolute():
            raise ValueError(f"{path} is relative: write the whole path, or one that begins with ~")
        return whole


def read_prompt_files(files: PromptFilesConfig) -> list[Row]:
    """Return the prompts of every file that is named. Raises ValueError naming the file, and the line, of what is none,
    and the setting of a file that is not there.

    ``limit`` keeps the first prompts of each category.
    """
    if files.compbench is not None and not files.compbench.is_dir():
        raise ValueError(f"prompts.compbench: there is no directory {files.compbench}")
    for name, path in (("geneval", files.geneval), ("drawbench", files.drawbench)):
        if path is not None and not path.is_file():
            raise ValueError(f"prompts.{name}: there is no file {path}")
    rows = [
        *(read_compbench(files.compbench, files.split) if files.compbench is not None else ()),
        *(read_geneval(files.geneval) if files.geneval is not None else ()),
        *(read_drawbench(files.drawbench) if files.drawbench is not None else ()),
    ]
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for row in rows:
        seen[row["style"], row["category"]] += 1
        if files.limit is None or seen[row["style"], row["category"]] <= files.limit:
            kept.append(row)
    return kept


def may_state_interaction(prompt: Row) -> bool:
    """Return whether CLIP may have to score the prompt, as in T2I-CompBench where things act on each other.

    In complex prompts of the embedded domain nothing does; in those of a file it may.
    """
    return prompt["category"] == "non_spatial" or (prompt["category"] == "complex" and prompt["style"] == COMPBENCH)


def read_compbench(directory: Path, split: str) -> list[Row]:
    """Return the prompts of the categories whose files are in the directory.

    Raises ValueError where there is no such file.
    """
    paths = {category: directory / f"{category}_{split}.txt" for category in COMPBENCH_CATEGORIES}
    there = {category: path for category, path in paths.items() if path.is_file()}
    if not there:
        raise ValueError(f"{directory} has no prompts of T2I-CompBench: no file named {{category}}_{split}.txt")
    beside = {kind: path for kind in PARTS if (path := directory / f"complex_{split}_{kind}.txt").is_file()}
    parts = {prompt: PARTS[kind] for kind, path in beside.items() for _, prompt in _lines(path)}
    asked: list[tuple[str, str, Row]] = []
    for category, path in there.items():
        for _, prompt in _lines(path):
            facts = {"parts": parts.get(prompt, ["spatial", "action"])} if category == "complex" and parts else {}
            asked.append((category, prompt, facts))
    return _rows(COMPBENCH, directory, asked)


def read_geneval(path: Path) -> list[Row]:
    """Return the prompts of GenEval. Raises ValueError naming a line that is none."""
    asked: list[tuple[str, str, Row]] = []
    for number, line in _lines(path):
        try:
            declared = declared_prompt(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not a prompt of GenEval: {error}") from error
        asked.append((f"geneval_{declared.tag}", declared.prompt, declared.facts()))
    return _rows(GENEVAL, path, asked)


def read_drawbench(path: Path) -> list[Row]:
    """Return the prompts of a CSV like DrawBench's.

    Raises ValueError where a column is missing, naming a line without a prompt or a category.
    """
    asked: list[tuple[str, str, Row]] = []
    table = csv.DictReader(io.StringIO(_text(path), newline=""))
    if not {"Prompts", "Category"} <= set(table.fieldnames or ()):
        raise ValueError(f"{path} must have the columns Prompts and Category, as DrawBench has")
    for row in table:
        prompt, category = ((row[name] or "").strip() for name in ("Prompts", "Category"))
        named = re.sub(r"\W+", "_", category.lower()).strip("_")
        if not prompt or not named:
            raise ValueError(f"{path}, line {table.line_num}: no {'category' if prompt else 'prompt'}")
        asked.append((f"drawbench_{named}", prompt, {}))
    return _rows(DRAWBENCH, path, asked)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not empty, with their numbers."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _text(path: Path) -> str:
    """Return the text of a file. Raises ValueError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error


def _rows(style: str, path: Path, asked: list[tuple[str, str, Row]]) -> list[Row]:
    """Return rows of PROMPTS for (category, prompt, facts); a prompt that comes twice is two scenes.

    Raises ValueError where there is none.
    """
    if not asked:
        raise ValueError(f"{path} holds no prompt")
    seen: Counter[tuple[str, str]] = Counter()
    rows = []
    for category, prompt, facts in asked:
        scene_id = f"{style}-{category}-{digest([prompt, seen[category, prompt]])}"
        seen[category, prompt] += 1
        rows.append(
            {
                "prompt_id": digest([style, prompt, scene_id]),
                "scene_id": scene_id,
                "style": style,
                "category": category,
                "prompt": prompt,
                "facts": json.dumps(facts),
                "reference_key": None,
            }
        )
    return rows
