"""Pictures for the README, drawn from a home by the command that anyone can run again."""

from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

from t2i_assets.corpus.artifacts import MissingArtifactError
from t2i_assets.corpus.home import Home
from t2i_assets.report.evidence import evidence, resized
from t2i_assets.report.pictures import Drawn, drawn_prompts
from t2i_assets.report.scores import result

SIDE, GAP, MARGIN, LABEL = 128, 14, 24, 128
PER_CATEGORY = 1
PAPER, INK, MUTED = "#fcfbf8", "#1d1c1a", "#6d6a63"


def write_figures(home: Home, directory: Path) -> list[Path]:
    """Write ``generated.png``: descriptive prompts, a real image and each recipe's picture; return the paths.

    Raises MissingArtifactError where no images were generated.
    """
    with evidence(home) as found:
        drawn = drawn_prompts(found, "descriptive", PER_CATEGORY)
        scores = result(found)
    if not drawn:
        raise MissingArtifactError(f"asset 'generated_images' is not materialized in {home.root}: materialize it first")
    recipes = sorted({recipe for prompt in drawn for recipe in prompt.pictures})
    if scores is not None and scores.baseline in recipes:
        recipes.sort(key=lambda recipe: recipe != scores.baseline)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "generated.png"
    _sheet(drawn, recipes).save(path, optimize=True)
    return [path]


def _sheet(drawn: list[Drawn], recipes: list[str]) -> Image.Image:
    """Return prompts as columns; rows are the recipes, then the real image, then the prompt's words."""
    text = ImageFont.load_default(13)
    lines = [wrap(prompt.prompt, 19) for prompt in drawn]
    rows = [*recipes, "real image"]
    top = MARGIN + len(rows) * (SIDE + GAP)
    width = MARGIN * 2 + LABEL + len(drawn) * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, top + max(map(len, lines)) * 17 + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(rows):
        y = MARGIN + row * (SIDE + GAP)
        pen.text((MARGIN, y + SIDE // 2 - 9), name, INK, ImageFont.load_default(16))
        for column, prompt in enumerate(drawn):
            image = prompt.reference if name == "real image" else _picture(prompt, name)
            if image is not None:
                x = MARGIN + LABEL + column * (SIDE + GAP)
                sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
    for column, words in enumerate(lines):
        x = MARGIN + LABEL + column * (SIDE + GAP)
        pen.multiline_text((x, top), "\n".join(words), MUTED, text, spacing=3)
    return sheet


def _picture(prompt: Drawn, recipe: str) -> Image.Image | None:
    picture = prompt.pictures.get(recipe)
    if picture is None or prompt.reference is None:
        return None
    return resized(picture.image, prompt.reference.width)
