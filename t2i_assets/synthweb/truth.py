"""The truth about every picture on the site: what tests and the report measure against, and no pipeline step reads."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from t2i_assets.corpus.digests import sample_key
from t2i_assets.corpus.tables import write_table
from t2i_assets.synthweb.answers import served_bytes
from t2i_assets.synthweb.config import SiteConfig
from t2i_assets.synthweb.diseases import RIGHT
from t2i_assets.synthweb.language import descriptive, facts
from t2i_assets.synthweb.pictures import Picture
from t2i_assets.synthweb.scenes import Scene
from t2i_assets.synthweb.site import Site, build_site


def _field(name: str, type_: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, type_, nullable=nullable, metadata={"description": description})


TRUTH = pa.schema(
    [
        _field("url", pa.string(), "URL path that pages link (before any redirect)."),
        _field("path", pa.string(), "URL path under which the bytes are served."),
        _field("key", pa.string(), "Sample key of the served bytes; null where no whole picture is ever served.", True),
        _field("page", pa.string(), "URL path of the page that shows it; null in the human set.", True),
        _field("page_disease", pa.string(), "What is wrong with the page: see diseases.PageDisease.", True),
        _field("scene", pa.string(), "The scene as JSON: things, relation, background, kind."),
        _field("facts", pa.string(), "All that can be said about the scene, as JSON."),
        _field("caption", pa.string(), "The complete caption in its plainest wording."),
        _field("answer", pa.string(), "What the server does: see diseases.ImageAnswer."),
        _field("markup", pa.string(), "How the page shows it: see diseases.Markup.", True),
        _field("alt", pa.string(), "The alt text; null where there is no attribute.", True),
        _field("alt_disease", pa.string(), "What is wrong with the alt text: see diseases.AltDisease.", True),
        _field("alt_right", pa.bool_(), "Whether the alt text is true of the picture; null without a text.", True),
        _field("extras", pa.string(), "Other texts as JSON: kind, text, right."),
    ],
    metadata={
        "name": "truth",
        "description": "What the pictures of the embedded web site show and what was done to them.",
    },
)


def write_truth(config: SiteConfig, path: Path) -> pa.Table:
    """Write one row per picture and page that shows it to ``path``; return the table. Draws every picture once."""
    return write_table(path, truth_rows(build_site(config)), TRUTH)


def truth_rows(site: Site) -> list[dict[str, Any]]:
    """Return the rows of the truth table."""
    keys: dict[str, str | None] = {}
    rows = []
    for page in site.pages:
        for place in page.placements:
            about_page = {"page": page.path, "page_disease": page.disease.value, "markup": place.markup.value}
            about_text = {
                "alt": place.alt,
                "alt_disease": place.disease.value,
                "alt_right": RIGHT[place.disease],
                "extras": json.dumps([asdict(extra) for extra in place.extras]),
            }
            rows.append({**_about_picture(place.picture, keys), **about_page, **about_text})
    rows += [{**_about_picture(human.picture, keys), "extras": "[]"} for human in site.human]
    return rows


def scene_json(scene: Scene) -> str:
    """Return what a scene shows as JSON."""
    shown = asdict(scene)
    del shown["surface"]
    return json.dumps(shown)


def _about_picture(picture: Picture, keys: dict[str, str | None]) -> dict[str, Any]:
    if picture.path not in keys:
        served = served_bytes(picture)
        keys[picture.path] = None if served is None else sample_key(served)
    return {
        "url": picture.entry,
        "path": picture.path,
        "key": keys[picture.path],
        "scene": scene_json(picture.scene),
        "facts": json.dumps(facts(picture.scene)),
        "caption": descriptive(picture.scene),
        "answer": picture.answer.value,
    }
