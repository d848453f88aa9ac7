"""The site as data: every page, picture and disease, derived from the configuration alone."""

import json
import random
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from t2i_assets.synthweb.alt_texts import alt_text, dress, say_part
from t2i_assets.synthweb.config import SiteConfig, stream
from t2i_assets.synthweb.diseases import (
    ALT_TEXTS,
    COPIES,
    EXTRA_TEXTS,
    IMAGE_ANSWERS,
    MARKUP,
    PAGE_TRAITS,
    PAGES,
    AltDisease,
    Copy,
    ExtraText,
    ImageAnswer,
    Markup,
    PageDisease,
    PageTrait,
    allot,
)
from t2i_assets.synthweb.language import descriptive, say_short, write
from t2i_assets.synthweb.pictures import SUFFIX, Picture
from t2i_assets.synthweb.prose import page_title
from t2i_assets.synthweb.scenes import Scene, sample_scene

SECTIONS = ("gallery", "posts", "shop", "wiki")
CLOSED = "/private/"
PAGES_PER_LISTING = 20
SIDES = {96: 3, 128: 4, 160: 4, 192: 4, 224: 2, 256: 2, 320: 1}
LARGEST = 320
FORMATS = {"JPEG": 62, "PNG": 14, "WEBP": 18, "GIF": 6}
ASPECTS = {1.0: 76, 4 / 3: 16, 3 / 4: 8}
THUMBNAIL = 72
PICTURES_ON_SICK_PAGE = 4
PRIVATE_ADDRESSES = ("http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/admin", "http://192.168.1.1/")


@dataclass(frozen=True)
class Extra:
    """A text beside the alt text, and whether it is right."""

    kind: ExtraText
    text: str
    right: bool


@dataclass(frozen=True)
class Placement:
    """A picture on a page: how it is marked up and what is written about it."""

    picture: Picture
    alt: str | None
    disease: AltDisease
    markup: Markup
    thumbnail: Picture | None
    extras: tuple[Extra, ...]

    def extra(self, kind: str) -> str | None:
        return next((extra.text for extra in self.extras if extra.kind == kind), None)


@dataclass(frozen=True)
class Page:
    """A content page; ``entry`` is the URL path that listings link, which differs from ``path`` for redirects."""

    number: int
    section: str
    path: str
    entry: str
    title: str
    disease: PageDisease
    traits: frozenset[PageTrait]
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class HumanPicture:
    """A picture of the human-annotated set with its captions as (style, text)."""

    id: int
    picture: Picture
    captions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Site:
    """Everything there is to serve."""

    config: SiteConfig
    pages: tuple[Page, ...]
    human: tuple[HumanPicture, ...]
    redirects: dict[str, str] = field(default_factory=dict)

    @cached_property
    def pages_by_path(self) -> dict[str, Page]:
        return {page.path: page for page in self.pages}

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """Every picture by the URL path under which its bytes are served."""
        shown = [p for page in self.pages for place in page.placements for p in (place.picture, place.thumbnail) if p]
        return {picture.path: picture for picture in [*shown, *(human.picture for human in self.human)]}

    def listings(self) -> dict[str, list[Page]]:
        """Return the pages that each listing URL links, in order."""
        found: dict[str, list[Page]] = {}
        for section in SECTIONS:
            pages = [page for page in self.pages if page.section == section]
            for start in range(0, len(pages), PAGES_PER_LISTING):
                found[listing_path(section, start // PAGES_PER_LISTING)] = pages[start : start + PAGES_PER_LISTING]
        return found

    def captions_json(self, origin: str) -> bytes:
        """Return the human captions in the COCO layout; every annotation has one more field, ``style``."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for human in self.human:
            picture = human.picture
            name = picture.path.rsplit("/", 1)[1]
            images.append(
                {
                    "id": human.id,
                    "file_name": name,
                    "coco_url": f"{origin}{picture.path}",
                    "width": picture.width,
                    "height": picture.height,
                }
            )
            for style, caption in human.captions:
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": human.id, "caption": caption, "style": style}
                )
        info = {
            "description": "Captions written by people; style is short (the main subject) or descriptive (everything).",
            "version": "1.0",
            "year": 2026,
        }
        return json.dumps({"info": info, "images": images, "annotations": annotations}, indent=1).encode()


def listing_path(section: str, number: int) -> str:
    return f"/{section}/" if number == 0 else f"/{section}/page/{number + 1}/"


def build_site(config: SiteConfig) -> Site:
    """Return the site of ``config``; equal configurations give equal sites."""
    diseases = _page_diseases(config)
    sizes = _page_sizes(config, diseases)
    homes = [disease for disease, size in zip(diseases, sizes, strict=True) for _ in range(size)]
    answers = _answers(homes, stream(config.seed, "image answers"))
    pictures = _fresh_pictures(config, answers)
    rng = stream(config.seed, "markup")
    alts = _alts(answers, rng)
    markups = allot(MARKUP, len(pictures), rng)
    placements = [
        _place(picture, alt, markup, stream(config.seed, "texts", i))
        for i, (picture, alt, markup) in enumerate(zip(pictures, alts, markups, strict=True))
    ]
    pages, start = [], 0
    for number, (disease, size) in enumerate(zip(diseases, sizes, strict=True)):
        pages.append(_page(config, number, disease, placements[start : start + size]))
        start += size
    pages = _add_copies(config, pages)
    return Site(config, tuple(pages), _human_pictures(config), _redirects(pages))


def _page_diseases(config: SiteConfig) -> list[PageDisease]:
    """Return one disease per page: ``config.pages`` healthy ones, and the sick ones on top."""
    sick = [disease for disease, row in PAGES.items() for _ in range(max(1, round(row.rate * config.pages)))]
    diseases = [PageDisease.NONE] * config.pages + sick
    stream(config.seed, "page diseases").shuffle(diseases)
    return diseases


def _page_sizes(config: SiteConfig, diseases: list[PageDisease]) -> list[int]:
    rng = stream(config.seed, "page sizes")
    sizes, balance = [], 0
    for disease in diseases:
        if disease is not PageDisease.NONE:
            sizes.append(PICTURES_ON_SICK_PAGE)
            continue
        change = rng.randint(-2, 2) if balance == 0 else -balance
        balance = 0 if balance else change
        sizes.append(config.images_per_page + change)
    return sizes


def _answers(homes: list[PageDisease], rng: random.Random) -> list[ImageAnswer]:
    """Return one answer per picture: sick ones stand on healthy pages alone, where a crawler meets them."""
    healthy = [i for i, disease in enumerate(homes) if disease is PageDisease.NONE]
    answers = [ImageAnswer.OK] * len(homes)
    for i, answer in zip(healthy, allot(IMAGE_ANSWERS, len(healthy), rng), strict=True):
        answers[i] = answer
    return answers


def _alts(answers: list[ImageAnswer], rng: random.Random) -> list[AltDisease]:
    """Return one disease of the alt text per picture; a picture with a sick answer has a text, so a crawler asks."""
    alts = allot(ALT_TEXTS, len(answers), rng)
    silent = (AltDisease.MISSING, AltDisease.EMPTY)
    givers = [i for i, alt in enumerate(alts) if alt not in silent and answers[i] is ImageAnswer.OK]
    for i, alt in enumerate(alts):
        if alt in silent and answers[i] is not ImageAnswer.OK:
            other = givers.pop()
            alts[i], alts[other] = alts[other], alts[i]
    return alts


def _fresh_pictures(config: SiteConfig, answers: list[ImageAnswer]) -> list[Picture]:
    """Return one picture per answer, each of a scene of its own."""
    pictures = []
    for i, answer in enumerate(answers):
        rng = stream(config.seed, "crawl", i)
        picture = _file(sample_scene(rng), rng, f"/media/2026/{rng.randint(1, 12):02d}")
        pictures.append(_with_answer(picture, answer))
    return pictures


def _file(scene: Scene, rng: random.Random, folder: str) -> Picture:
    """Return ``scene`` as a file of random size, aspect, format and quality."""
    side = _weighted(rng, SIDES)
    aspect = _weighted(rng, ASPECTS)
    width, height = (round(side * aspect), side) if aspect >= 1 else (side, round(side / aspect))
    format = _weighted(rng, FORMATS)
    path = f"{folder}/{rng.getrandbits(40):010x}.{SUFFIX[format]}"
    return Picture(path, scene, min(width, LARGEST), min(height, LARGEST), format, rng.randint(72, 95))


def _with_answer(picture: Picture, answer: ImageAnswer) -> Picture:
    """Return the picture at the address, and with the entry, that its answer needs."""
    name = picture.path.rsplit("/", 1)[1]
    path, entry = picture.path, ""
    match answer:
        case ImageAnswer.DISALLOWED:
            path = f"{CLOSED}media/{name}"
        case ImageAnswer.REDIRECT:
            entry = f"/old-media/{name}"
        case ImageAnswer.REDIRECT_DISALLOWED:
            path, entry = f"{CLOSED}media/{name}", f"/old-media/{name}"
        case ImageAnswer.REDIRECT_LOOP:
            entry = f"/loop/{name}"
        case ImageAnswer.REDIRECT_PRIVATE:
            entry = f"/out/{name}"
        case ImageAnswer.ALPHA:
            path = path.rsplit(".", 1)[0] + ".png"
        case ImageAnswer.EXIF_ROTATED | ImageAnswer.CMYK:
            path = path.rsplit(".", 1)[0] + ".jpg"
    return replace(picture, path=path, entry=entry or path, answer=answer)


def _place(picture: Picture, alt: AltDisease, markup: Markup, rng: random.Random) -> Placement:
    thumbnail = None
    if markup in (Markup.SRCSET, Markup.PICTURE):
        stem, suffix = picture.path.removeprefix(CLOSED).removeprefix("/media/").rsplit(".", 1)
        side = min(picture.width, picture.height)
        small = (THUMBNAIL * picture.width // side, THUMBNAIL * picture.height // side)
        thumbnail = replace(
            picture, path=f"/media/{stem}-small.{suffix}", entry="", width=small[0], height=small[1],
            answer=ImageAnswer.OK,
        )  # fmt: skip
    return Placement(picture, alt_text(picture.scene, alt, rng), alt, markup, thumbnail, _extras(picture.scene, rng))


def _extras(scene: Scene, rng: random.Random) -> tuple[Extra, ...]:
    extras = []
    for kind, row in EXTRA_TEXTS.items():
        if rng.random() >= row.rate:
            continue
        right = kind is ExtraText.ARIA_LABEL or rng.random() < 0.5
        if right:
            text = dress(write(say_part(scene, rng), rng), rng)
        elif kind is ExtraText.TITLE:
            text = f"DSC_{rng.randint(1000, 9999)}"
        else:
            text = rng.choice(("Figure {}.", "Plate {}, from the archive.", "See note {} below.")).format(
                rng.randint(1, 40)
            )
        extras.append(Extra(kind, text, right))
    return tuple(extras)


def _page(config: SiteConfig, number: int, disease: PageDisease, placements: list[Placement]) -> Page:
    rng = stream(config.seed, "page", number)
    section = SECTIONS[number % len(SECTIONS)]
    title = page_title(section, rng)
    slug = f"{title.lower().replace(' ', '-').replace(',', '')}-{number}"
    path = {
        "gallery": f"/gallery/{slug}.html",
        "posts": f"/posts/2026/{rng.randint(1, 12):02d}/{slug}/",
        "shop": f"/shop/item/{slug}",
        "wiki": f"/wiki/{slug.replace('-', '_')}",
    }[section]
    entry = path
    match disease:
        case PageDisease.DISALLOWED:
            path = entry = f"{CLOSED}{slug}.html"
        case PageDisease.REDIRECT:
            entry = f"/old/{slug}.html"
        case PageDisease.REDIRECT_DISALLOWED:
            path, entry = f"{CLOSED}{slug}.html", f"/old/{slug}.html"
        case PageDisease.REDIRECT_LOOP:
            entry = f"/loop/{slug}.html"
        case PageDisease.REDIRECT_PRIVATE:
            entry = f"/out/{slug}.html"
    traits = frozenset(trait for trait, row in PAGE_TRAITS.items() if rng.random() < row.rate or number == _HOST[trait])
    if section not in ("posts", "wiki"):
        placements = [
            replace(place, extras=tuple(extra for extra in place.extras if extra.kind is not ExtraText.FIGCAPTION))
            for place in placements
        ]
    return Page(number, section, path, entry, title, disease, traits, tuple(placements))


_HOST = {trait: index for index, trait in enumerate(PageTrait)}  # this page has the trait whatever the dice say


def _add_copies(config: SiteConfig, pages: list[Page]) -> list[Page]:
    """Return the pages with copies of healthy pictures strewn over the healthy pages."""
    rng = stream(config.seed, "copies")
    healthy = [page for page in pages if page.disease is PageDisease.NONE]
    sources = [place for page in healthy for place in page.placements if place.picture.answer is ImageAnswer.OK]
    added: dict[int, list[Placement]] = {}
    for kind, row in COPIES.items():
        for place in rng.sample(sources, max(1, round(row.rate * len(sources)))):
            copy = _copy(place.picture, kind, rng)
            disease = rng.choices(list(ALT_TEXTS), [row.rate for row in ALT_TEXTS.values()])[0]
            page = rng.choice(healthy)
            added.setdefault(page.number, []).append(_place(copy, disease, Markup.PLAIN, rng))
    return [replace(page, placements=page.placements + tuple(added.get(page.number, ()))) for page in pages]


def _copy(picture: Picture, kind: Copy, rng: random.Random) -> Picture:
    if kind is Copy.SAME_URL:
        return picture
    if kind is Copy.EXACT:
        path = f"/mirror/{rng.getrandbits(40):010x}.{SUFFIX[picture.format]}"
        return replace(picture, path=path, entry=path)
    short, long = min(picture.width, picture.height), max(picture.width, picture.height)
    scales = [side / short for side in SIDES if side != short and side * long <= LARGEST * short]
    scale = rng.choice(scales)
    copy = _file(picture.scene, rng, "/resized")
    return replace(copy, width=round(picture.width * scale), height=round(picture.height * scale))


def _human_pictures(config: SiteConfig) -> tuple[HumanPicture, ...]:
    """Return the human-annotated pictures: their scenes come from a stream that the crawl never sees."""
    pictures = []
    for i in range(config.human_images):
        rng = stream(config.seed, "human", i)
        scene = sample_scene(rng)
        side = rng.choice((128, 160, 192))
        picture = Picture(f"/dataset/images/{i + 1:012d}.jpg", scene, side, side, "JPEG", 92)
        captions = [("descriptive", descriptive(scene, rng)) for _ in range(2)]
        captions += [("short", write(say_short(scene), rng))]
        pictures.append(HumanPicture(i + 1, picture, tuple(captions)))
    return tuple(pictures)


def _redirects(pages: list[Page]) -> dict[str, str]:
    """Return every redirecting URL path and where it leads."""
    found: dict[str, str] = {}
    linked = [(page.entry, page.path, page.disease.value) for page in pages]
    linked += [(p.entry, p.path, p.answer.value) for page in pages for p in (x.picture for x in page.placements)]
    for entry, path, disease in linked:
        if disease == "redirect_loop":
            found[entry] = f"{entry}?again"
            found[f"{entry}?again"] = entry
        elif disease == "redirect_private":
            found[entry] = PRIVATE_ADDRESSES[len(found) % len(PRIVATE_ADDRESSES)]
        elif entry != path:
            found[entry] = path
    return found


T = TypeVar("T")


def _weighted(rng: random.Random, table: dict[T, int]) -> T:
    return rng.choices(list(table), list(table.values()))[0]
