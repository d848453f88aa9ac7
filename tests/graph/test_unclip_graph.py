"""A preset of the unCLIP variant: the diffusion model is told image embeddings, and draws what the prior says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from t2i_assets.config import load_settings, presets
from t2i_assets.corpus.artifacts import read_ref
from t2i_assets.corpus.schemas import GENERATED
from t2i_assets.corpus.tables import read_rows
from tests.graph.conftest import DemoRun

pytestmark = [pytest.mark.graph, pytest.mark.xdist_group("graph"), pytest.mark.timeout(600)]

RECIPE = load_settings("smoke").text_encoder_recipe
MAKE = f"""
import os, sys
from pathlib import Path
from rich.console import Console
from t2i_assets.config import Environment
from t2i_assets.demo.order import Unit
from t2i_assets.demo.run import run_demo
from t2i_assets.demo.terminal import Display

if __name__ == "__main__":
    environment = Environment(sys.argv[1], Path(sys.argv[2]))
    run_demo(environment, "demo", Display(Console()), targets=[Unit("generated_images", {RECIPE!r})])
"""


def test_pictures_come_from_the_prior_and_name_what_they_stand_on(demo: DemoRun, tmp_path: Path) -> None:
    settings = yaml.safe_load(presets()["smoke"].read_text())
    settings["diffusion"] |= {"image_embedding": True, "caption_dropout": 0.5}
    settings["generate"] |= {"condition": "prior"}
    settings["text_states"] = {}
    preset, script = tmp_path / "unclip.yaml", tmp_path / "make.py"
    preset.write_text(yaml.safe_dump(settings))
    script.write_text(MAKE)
    before = read_ref(demo.home, "clip_model", RECIPE)
    done = subprocess.run(
        [sys.executable, str(script), str(preset), str(demo.home.root)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert read_ref(demo.home, "clip_model", RECIPE).identity == before.identity, "nothing before it is made again"
    model, images = (read_ref(demo.home, name, RECIPE) for name in ("latent_diffusion", "generated_images"))
    clip, prior = (read_ref(demo.home, name, RECIPE) for name in ("clip_model", "diffusion_prior"))
    states, embeddings = (read_ref(demo.home, name, RECIPE) for name in ("text_states", "clip_embeddings"))
    assert model.manifest.inputs["text_states"] == states.identity
    assert model.manifest.inputs["clip_embeddings"] == embeddings.identity
    assert (images.manifest.inputs["clip"], images.manifest.inputs["prior"]) == (clip.identity, prior.identity)
    assert len(read_rows(images.path, GENERATED)) == images.manifest.summary["images"]
