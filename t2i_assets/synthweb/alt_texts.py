"""What web authors write about a picture, sick and healthy."""

import random
from dataclasses import replace

from t2i_assets.synthweb.diseases import AltDisease
from t2i_assets.synthweb.language import Mention, Statement, descriptive, holds, say_all, write
from t2i_assets.synthweb.scenes import COLORS, SHAPES, Scene, sample_scene


def alt_text(scene: Scene, disease: AltDisease, rng: random.Random) -> str | None:
    """Return the alt text of ``scene`` with ``disease``; None for no attribute at all."""
    match disease:
        case AltDisease.COMPLETE:
            return dress(descriptive(scene, rng), rng)
        case AltDisease.PARTIAL:
            return dress(write(say_part(scene, rng), rng, articles=rng.random() < 0.5), rng)
        case AltDisease.ONE_WORD:
            thing = rng.choice(scene.things)
            return _case(thing.shape if rng.random() < 0.7 else thing.color, rng)
        case AltDisease.MISLEADING:
            return dress(write(say_wrong(scene, rng), rng, articles=rng.random() < 0.7), rng)
        case AltDisease.FILE_NAME:
            return rng.choice(_FILE_NAMES).format(rng.randint(1000, 9999))
        case AltDisease.ADVERT:
            return rng.choice(_ADVERTS).format(rng.choice((10, 20, 30, 50, 70)))
        case AltDisease.FOREIGN:
            return _foreign(scene, rng)
        case AltDisease.KEYWORDS:
            words = [*COLORS, *(f"{shape}s" for shape in SHAPES), *_BAIT]
            return ", ".join(rng.sample(words, rng.randint(8, 14)))
        case AltDisease.EMPTY:
            return ""
        case AltDisease.MISSING:
            return None


def say_part(scene: Scene, rng: random.Random) -> Statement:
    """Return a right statement that leaves something out: mostly texture and background, often relation and objects."""
    whole = say_all(scene)
    mentions = [_blur(mention, rng) for mention in whole.objects]
    relation = whole.relation
    if relation is not None and rng.random() < 0.7:
        relation = None
    if relation is None and len(mentions) > 1:
        mentions = sorted(rng.sample(mentions, rng.randint(1, len(mentions))), key=mentions.index)
    background = whole.background if rng.random() < 0.15 else None
    part = Statement(tuple(mentions), relation, background)
    return part if part != whole else replace(part, background=None)


def say_wrong(scene: Scene, rng: random.Random) -> Statement:
    """Return a statement about a scene that shares no coloured shape with this one, and that is not true of it."""
    looks = {(thing.color, thing.shape) for thing in scene.things}
    while True:
        other = sample_scene(rng)
        statement = say_all(other) if rng.random() < 0.4 else say_part(other, rng)
        shared = looks & {(thing.color, thing.shape) for thing in other.things}
        if not shared and not holds(statement, scene):
            return statement


def dress(text: str, rng: random.Random) -> str:
    """Return ``text`` with the capitals, full stops and openings that authors use."""
    if rng.random() < 0.08:
        text = rng.choice(("image of ", "picture of ", "photo: ")) + text
    return _case(text, rng) + ("." if rng.random() < 0.1 else "")


def _blur(mention: Mention, rng: random.Random) -> Mention:
    return replace(
        mention,
        texture=mention.texture if rng.random() < 0.25 else None,
        color=mention.color if rng.random() < 0.85 else None,
    )


def _case(text: str, rng: random.Random) -> str:
    return text[0].upper() + text[1:] if rng.random() < 0.4 else text


def _foreign(scene: Scene, rng: random.Random) -> str:
    thing = rng.choice(scene.things)
    pattern, shapes, colors = rng.choice(_LANGUAGES)
    shape, color = shapes[SHAPES.index(thing.shape)], colors[COLORS.index(thing.color)]
    return pattern.format(shape=shape, color=color)


_FILE_NAMES = ("IMG_{}.jpg", "DSC0{}.JPG", "P101{}.jpg", "image-{}.png", "screenshot_{}.png", "untitled-{}-final2.webp")
_ADVERTS = (
    "Save {} % today, free shipping on all orders",
    "Click here to win, {} winners every day",
    "Big summer sale: up to {} % off",
    "Subscribe to our newsletter and get {} % off",
    "Best prices online, {} day money-back guarantee",
    "Buy one, get one for {} cents",
)
_BAIT = ("wallpaper", "hd", "4k", "free download", "cheap", "best", "top 10", "stock photo", "vector", "clipart", "buy")
_LANGUAGES = (
    (
        "Bild von einem {shape} in der Farbe {color}",
        ("Kreis", "Quadrat", "Dreieck", "Stern"),
        ("Rot", "Grün", "Blau", "Gelb", "Lila", "Orange"),
    ),
    (
        "Une image avec {shape} de couleur {color}",
        ("un cercle", "un carré", "un triangle", "une étoile"),
        ("rouge", "verte", "bleue", "jaune", "violette", "orange"),
    ),
    (
        "Imagen con {shape} de color {color}",
        ("un círculo", "un cuadrado", "un triángulo", "una estrella"),
        ("rojo", "verde", "azul", "amarillo", "morado", "naranja"),
    ),
    (
        "Immagine con {shape} di colore {color}",
        ("un cerchio", "un quadrato", "un triangolo", "una stella"),
        ("rosso", "verde", "blu", "giallo", "viola", "arancione"),
    ),
)
