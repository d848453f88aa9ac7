"""Scoring a snapshot: by our filter, by BLIP of transformers, by an independent CLIP, and again after a kill."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)

from t2i_assets.corpus.schemas import CAPTIONS, SCORES
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.verdicts import alt_captions
from tests.unit.drawn_corpus import write_shards, write_tokenizer
from training.caption_filter import build_filter
from training.config import CaptionFilterConfig, RecaptionConfig, ScoreConfig
from training.data import load_images
from training.job import Job
from training.models.blip_filter import save_filter
from training.report import Reporter
from training.score import ScoreInputs, load_scorers, score_captions
from training.score import main as score
from training.scorers.blip import load_blip_scorer
from training.tokenizer import load

torch.set_num_threads(1)

SMALL = {
    "image_size": 32,
    "width": 32,
    "heads": 2,
    "patch_size": 8,
    "stem_blocks": 0,
    "text_layers": 2,
    "embed_dim": 16,
}
TEXTS = ["a red star above two circles", "a circle"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "star", "above", "two", "circle", "##s"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_shards(root / "shards", 10, 4)
    write_tokenizer(root / "tokenizer")
    (root / "filter").mkdir()
    torch.manual_seed(0)
    save_filter(build_filter(CaptionFilterConfig.model_validate(SMALL), load(root / "tokenizer", 32)), root / "filter")
    made = alt_captions(root / "shards")[3] | {"caption_id": "made", "source": "synthetic_short", "caption": "a star"}
    write_table(root / "synthetic.parquet", [made], CAPTIONS)
    return root


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLIP of random weights on disk, with a tokenizer and a processor as the published ones have."""
    root = tmp_path_factory.mktemp("blip")
    (root / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(root / "vocab.txt"), additional_special_tokens=["[DEC]", "[ENC]"])
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        text_config=BlipTextConfig(
            **sizes, vocab_size=len(tokenizer), encoder_hidden_size=32, max_position_embeddings=16
        ).to_dict(),
        vision_config=BlipVisionConfig(**sizes, image_size=24, patch_size=8).to_dict(),
        image_text_hidden_size=8,
    )
    torch.manual_seed(0)
    model = BlipForImageTextRetrieval(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(root)
    BlipProcessor(BlipImageProcessor(size={"height": 24, "width": 24}), tokenizer).save_pretrained(root)
    return root


def score_all(corpus: Path, output: Path, reporter: Reporter | None = None, **config: Any) -> list[dict[str, Any]]:
    output.mkdir(exist_ok=True)
    inputs = ScoreInputs(
        caption_filter=corpus / "filter",
        tokenizer=corpus / "tokenizer",
        shards=corpus / "shards",
        captions=[corpus / "synthetic.parquet"],
    )
    with reporter or Reporter("caption_scores", output, {}) as told:
        score(Job("caption_scores", ScoreConfig(scorer_digest="f", **config), inputs, output), told)
    return read_rows(output, SCORES)


def test_every_alt_text_and_synthetic_caption_is_scored_twice(corpus: Path, tmp_path: Path) -> None:
    rows = score_all(corpus, tmp_path / "scores")
    expected = {row["caption_id"] for row in alt_captions(corpus / "shards")} | {"made"}
    for kind, low in (("itm", 0), ("itc", -1)):
        mine = [row for row in rows if row["kind"] == kind]
        assert {row["caption_id"] for row in mine} == expected
        assert len(mine) == len(expected)
        assert all(low <= row["value"] <= 1 and row["scorer"] == "f" for row in mine)


class Killed(Reporter):
    """Ends the job after the first shard."""

    def log(self, step: int, total: int, **figures: float) -> None:
        raise KeyboardInterrupt


def test_a_job_that_was_killed_goes_on_with_the_missing_shards_and_writes_the_same_bytes(
    corpus: Path, tmp_path: Path
) -> None:
    score_all(corpus, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        score_all(corpus, tmp_path / "killed", Killed("caption_scores", tmp_path, {}))
    tables = sorted(path.name for path in (tmp_path / "whole").glob("[0-9]*.parquet"))
    assert [path.name for path in (tmp_path / "killed").glob("[0-9]*.parquet")] == tables[:1]
    before = (tmp_path / "killed" / tables[0]).stat().st_mtime_ns
    score_all(corpus, tmp_path / "killed")
    assert (tmp_path / "killed" / tables[0]).stat().st_mtime_ns == before
    for table in tables:
        assert (tmp_path / "killed" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()


def test_blip_gives_what_a_direct_call_of_the_model_gives(corpus: Path, blip: Path) -> None:
    scorer = load_blip_scorer(str(blip))
    assert scorer.image_size == 24
    _, images = load_images([corpus / "shards"], 24)
    processor, model = BlipProcessor.from_pretrained(blip), BlipForImageTextRetrieval.from_pretrained(blip).eval()
    pairs = [(3, TEXTS[0]), (1, TEXTS[1]), (3, TEXTS[1])]
    with torch.no_grad():
        scores = scorer.score(images, [text for _, text in pairs], torch.tensor([image for image, _ in pairs]))
        for (image, text), (itm, itc) in zip(pairs, scores, strict=True):
            inputs = processor(images=images[image].permute(1, 2, 0).numpy(), text=text, return_tensors="pt")
            torch.testing.assert_close(itm, model(**inputs).itm_score.softmax(dim=1)[0, 1])
            torch.testing.assert_close(itc, model(**inputs, use_itm_head=False).itm_score[0, 0])
    assert scores[:, 0].std() > 0.01


def test_a_scorer_sees_each_caption_with_its_own_image(corpus: Path, blip: Path) -> None:
    scorer = load_blip_scorer(str(blip))
    _, images = load_images([corpus / "shards"], 24)
    captions = [(index, {"caption_id": str(index), "key": "k", "caption": TEXTS[index % 2]}) for index in (4, 2, 7)]
    together = {row["caption_id"]: row for row in score_captions(scorer, images, captions) if row["kind"] == "itm"}
    for index, caption in captions:
        alone = score_captions(scorer, images[index : index + 1], [(0, caption)])[0]
        assert together[str(index)]["value"] == pytest.approx(alone["value"], abs=1e-5)


def test_a_directory_that_holds_no_matching_blip_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip", "architectures": ["BlipForQuestions"]}))
    with pytest.raises(ValueError, match=r"is BlipForQuestions; .* needs a BlipForImageTextRetrieval"):
        load_blip_scorer(str(tmp_path))


@pytest.fixture(scope="module")
def clip(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP of random weights in open_clip's local layout."""
    root = tmp_path_factory.mktemp("clip")
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": [16, 16]}
    (root / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    torch.save(model.state_dict(), root / "open_clip_pytorch_model.bin")
    return f"local-dir:{root}"


def test_an_independent_clip_adds_its_cosine_beside_the_back_end_s_scores(
    corpus: Path, blip: Path, clip: str, tmp_path: Path
) -> None:
    rows = score_all(corpus, tmp_path / "scores", backend="blip", model=str(blip), clip=clip)
    count = len({row["caption_id"] for row in rows})
    assert [sum(row["kind"] == kind for row in rows) for kind in ("itm", "itc", "clip")] == [count] * 3
    assert {row["scorer"] for row in rows if row["kind"] == "clip"} == {clip}
    assert {row["scorer"] for row in rows if row["kind"] == "itm"} == {str(blip)}
    captions = {row["caption_id"]: row for row in alt_captions(corpus / "shards")}
    row = next(row for row in rows if row["kind"] == "clip" and row["caption_id"] in captions)
    _, images = load_images([corpus / "shards"], 16, {row["key"]})
    model, tokenizer = open_clip.create_model(clip).eval(), open_clip.get_tokenizer(clip)
    with torch.no_grad():
        image = F.normalize(model.encode_image(images.float() / 127.5 - 1), dim=-1)
        text = F.normalize(model.encode_text(tokenizer([captions[row["caption_id"]]["caption"]])), dim=-1)
    assert row["value"] == pytest.approx(float((image * text).sum()), abs=1e-5)


def test_a_back_end_without_its_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs the name or directory"):
        ScoreConfig(backend="blip")
    with pytest.raises(ValueError, match="'clip' does not name"):
        ScoreConfig(clip_pretrained="openai")
    with pytest.raises(ValueError, match="the filter is the one trained here"):
        ScoreConfig(model="blip")


def test_scores_are_computed_in_the_precision_that_is_asked_for(corpus: Path, tmp_path: Path) -> None:
    exact = [row["value"] for row in score_all(corpus, tmp_path / "fp32")]
    rough = [row["value"] for row in score_all(corpus, tmp_path / "bf16", precision="bf16")]
    assert rough != exact and rough == pytest.approx(exact, abs=0.05)


def test_the_filter_is_needed_by_its_own_back_end_alone(corpus: Path, blip: Path, tmp_path: Path) -> None:
    inputs = ScoreInputs(shards=corpus / "shards", captions=[])
    assert [scorer.kinds for scorer in load_scorers(ScoreConfig(backend="blip", model=str(blip)), inputs)] == [
        ("itm", "itc")
    ]
    with pytest.raises(ValueError, match="no filter"):
        load_scorers(ScoreConfig(), inputs)


def test_a_home_directory_is_written_out_where_a_model_is_named(blip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(blip.parent))
    config = ScoreConfig(backend="blip", model=f"~/{blip.name}", clip="local-dir:~/clip", clip_pretrained="openai")
    assert config.model is not None
    assert (config.model, config.clip, config.clip_pretrained) == (str(blip), f"local-dir:{blip.parent}/clip", "openai")
    assert load_blip_scorer(config.model).image_size == 24
    captioner = RecaptionConfig(model="~/coca", pretrained="~/weights.pt")
    assert (captioner.model, captioner.pretrained) == (f"{blip.parent}/coca", f"{blip.parent}/weights.pt")
