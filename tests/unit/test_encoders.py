"""What turns pictures into features: the published Inception, CLIP and DINOv2, and how pictures come to them."""

import hashlib
import http.server
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cleanfid.resize import build_resizer
from PIL import Image
from pydantic import ValidationError
from pytorch_fid import inception as pytorch_fid
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from evaluation.features.backends import load_encoder
from evaluation.features.config import EncoderConfig, FeaturesConfig
from evaluation.features.inception import InceptionFid, load_inception
from evaluation.features.preprocessing import Preprocessing
from evaluation.features.weights import WeightsError, weights_file
from tests.unit.drawn_corpus import write_tokenizer
from training.config import ClipConfig
from training.models.clip import build_clip, clip_config, load_clip, preprocess, save_clip
from training.tokenizer import load as load_tokenizer

torch.set_num_threads(1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Random weights of Inception under which no activation dies and none explodes."""
    torch.manual_seed(0)
    state = InceptionFid().state_dict()
    for name, value in state.items():
        if name.endswith("conv.weight"):
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
        elif name.endswith("bn.running_var"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("bn.weight"):
            value.uniform_(0.8, 1.2)
        elif name.endswith(("bn.bias", "bn.running_mean")):
            value.normal_(0, 0.1)
    return state


@pytest.fixture(scope="module")
def weights_path(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}, path)
    return path


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """Return one picture [S, S, 3] as a batch [1, 3, S, S]."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]


def test_weights_in_pytorch_fids_names_give_its_features(
    weights: dict[str, torch.Tensor], weights_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pytorch-fid's own network loads the same names strictly and sees the same pictures."""
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: weights)
    theirs = pytorch_fid.InceptionV3([3]).eval()
    told = EncoderConfig(kind="inception", weights=str(weights_path), resize="legacy")
    ours = load_encoder(told, tmp_path, tmp_path, CPU)
    images = [picture(120, 90), picture(64, 64, seed=1)]
    pixels = torch.cat([tensor(ours.preprocessing.pixels(image)) for image in images])
    with torch.no_grad():
        unit = [torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255 for image in images]
        expected = torch.cat([theirs(image)[0].flatten(1) for image in unit])
    assert expected.std(dim=0).mean() > 1e-3
    torch.testing.assert_close(ours(pixels), expected, rtol=1e-4, atol=1e-5)
    assert (ours.name, ours.dimension) == ("inception", 2048)
    assert ours.classifier is not None and ours.classifier.shape == (1008, 2048)


def test_other_weights_than_inceptions_are_refused_by_name(weights: dict[str, torch.Tensor]) -> None:
    lacking = {name: value for name, value in weights.items() if name != "Mixed_6c.branch7x7_2.conv.weight"}
    with pytest.raises(
        ValueError, match=r"Mixed_6c\.branch7x7_2\.conv\.weight is nothing, expected \[160, 160, 1, 7\]"
    ):
        load_inception(lacking)
    with pytest.raises(ValueError, match=r"AuxLogits\.fc\.weight is \[3\], expected nothing"):
        load_inception({**weights, "AuxLogits.fc.weight": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"fc\.weight is \[1000, 2048\], expected \[1008, 2048\]"):
        load_inception({**weights, "fc.weight": torch.zeros(1000, 2048)})


@pytest.mark.parametrize(("mode", "resize"), [("clean", "clean"), ("legacy_pytorch", "legacy")])
@pytest.mark.parametrize("size", [(400, 331), (50, 61), (299, 299)])
def test_pictures_are_scaled_as_clean_fid_and_pytorch_scale_them(mode: str, resize: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    ours = Preprocessing(side=299, resize=resize, fit="stretch").pixels(image)  # type: ignore[arg-type]
    theirs = build_resizer(mode)(np.array(image))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_a_cropped_picture_is_the_middle_of_its_shorter_side() -> None:
    image = picture(160, 80)
    middle = image.crop((40, 0, 120, 80))
    for resize in ("clean", "legacy", "bytes"):
        told = Preprocessing(side=40, resize=resize, fit="crop")
        stretched = told.model_copy(update={"fit": "stretch"})
        inside = np.s_[:, 4:-4]  # the filters reach beyond the edge of what is kept
        np.testing.assert_allclose(told.pixels(image)[inside], told.pixels(middle)[inside], atol=1e-3)
        assert not np.allclose(told.pixels(image), stretched.pixels(image), atol=1)


def test_without_antialiasing_a_fine_pattern_stays_and_with_it_goes() -> None:
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (80, 40))).convert("RGB")
    contrast = {
        resize: Preprocessing(side=27, resize=resize, fit="stretch").pixels(stripes).std()
        for resize in ("clean", "legacy")
    }
    assert contrast["clean"] < 10 < contrast["legacy"]


def test_clip_gives_the_features_of_open_clip(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    config = clip_config(ClipConfig(embed_dim=16, vision_width=16, text_width=32, text_layers=1), 600)
    (tmp_path / "clip").mkdir()
    torch.manual_seed(0)
    save_clip(build_clip(config), config, load_tokenizer(tmp_path / "tokenizer", 32), tmp_path / "clip")
    told = EncoderConfig(kind="clip", model=str(tmp_path / "clip"), resize="bytes")
    encoder = load_encoder(told, tmp_path, tmp_path, CPU)
    pixels = tensor(encoder.preprocessing.pixels(picture(64, 64)))
    model, _ = load_clip(tmp_path / "clip")
    with torch.no_grad():
        expected = model.encode_image(preprocess(model, pixels))
    torch.testing.assert_close(encoder(pixels), expected, rtol=1e-4, atol=1e-5)
    assert (encoder.name, encoder.dimension, encoder.classifier) == ("clip", 16, None)


def test_dinov2_gives_the_class_token_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    model = Dinov2Model(config).eval()
    model.save_pretrained(tmp_path)
    crop = {"height": 28, "width": 28}
    processor = BitImageProcessor(size={"shortest_edge": 28}, crop_size=crop, image_mean=[0.4] * 3, image_std=[0.2] * 3)
    processor.save_pretrained(tmp_path)
    told = EncoderConfig(kind="dinov2", model=str(tmp_path), resize="bytes", name="dinov2_small")
    encoder = load_encoder(told, tmp_path, tmp_path, CPU)
    image = picture(56, 56)
    with torch.no_grad():
        expected = model(processor(image, return_tensors="pt")["pixel_values"]).last_hidden_state[:, 0]
    found = encoder(tensor(encoder.preprocessing.pixels(image)))
    assert F.cosine_similarity(found, expected).item() > 0.999
    assert (encoder.name, encoder.dimension) == ("dinov2_small", 32)


def test_weights_are_fetched_once_and_only_if_they_hash_to_what_was_promised(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "weights.pth").write_bytes(b"weights")
    promised = hashlib.sha256(b"weights").hexdigest()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/weights.pth"
        kept = weights_file(url, promised, tmp_path / "cache")
        assert kept.read_bytes() == b"weights"
        with pytest.raises(WeightsError, match=f"hash to {promised}, expected {'0' * 64}"):
            weights_file(url, "0" * 64, tmp_path / "cache")
        with pytest.raises(WeightsError, match="cannot be fetched"):
            weights_file(url + ".other", "1" * 64, tmp_path / "cache")
        server.shutdown()
    assert weights_file(url, promised, tmp_path / "cache") == kept  # the server is gone
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{promised}.pth"]
    with pytest.raises(WeightsError, match="there are no weights at"):
        weights_file(str(tmp_path / "none.pth"), None, tmp_path)
    with pytest.raises(WeightsError, match="hash to"):
        weights_file(str(served / "weights.pth"), "0" * 64, tmp_path)


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"kind": "inception"}, "needs weights"),
        ({"kind": "clip"}, "needs a model"),
        ({"kind": "inception", "weights": "https://example.org/w.pth"}, "need their sha256"),
        ({"kind": "judge", "sha256": "abc"}, "pattern"),
        ({"kind": "judge", "name": "fid"}, "no other encoder makes an FID"),
    ],
)
def test_an_encoder_from_nowhere_or_under_a_false_name_is_refused(told: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        EncoderConfig.model_validate(told)


def test_two_encoders_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="names of their own"):
        FeaturesConfig(encoders=(EncoderConfig(kind="judge"), EncoderConfig(kind="judge", resize="clean")))
