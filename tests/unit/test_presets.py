"""Every preset that comes with the project loads, says what it is, and names models that its libraries know."""

import open_clip
import pytest
import yaml

from t2i_assets.config import load_settings, presets


@pytest.mark.parametrize("name", presets())
def test_it_loads_and_begins_by_saying_what_it_is_for(name: str) -> None:
    settings = load_settings(name)
    assert settings.model_dump(exclude_unset=True)
    assert presets()[name].read_text().startswith("# ")


def test_small_trains_every_model_from_scratch_and_base_starts_from_checkpoints() -> None:
    small, base = load_settings("small"), load_settings("base")
    assert small.clip.pretrained is None and small.autoencoder.pretrained is None and small.recaption.model is None
    assert small.captioner.stem_blocks == 0, "what open_clip alone loads"
    assert base.clip.pretrained and base.autoencoder.pretrained and base.recaption.model and base.score.model
    assert base.clip.optimizer.steps == base.autoencoder.optimizer.steps == 0


def test_the_checkpoints_of_base_are_those_that_open_clip_lists() -> None:
    base = load_settings("base")
    named = [
        (base.image_features.model, base.image_features.pretrained),
        (base.score.clip, base.score.clip_pretrained),
        *((clip.pretrained.model, clip.pretrained.weights) for clip in (base.clip, base.evaluation_clip)),
    ]
    assert set(named) <= set(open_clip.list_pretrained())
    assert base.clip.pretrained != base.evaluation_clip.pretrained


def test_whoever_reads_small_and_base_is_told_that_they_were_not_run() -> None:
    for name in ("small", "base"):
        assert "it was not run here" in " ".join(presets()[name].read_text().replace("# ", "").split())
        assert yaml.safe_load(presets()[name].read_text())
