"""Titles and sentences that fill pages: enough to look like a site, about nothing that a picture shows."""

import random

_PLACES = (
    "Harbour",
    "Valley",
    "Old Town",
    "Riverside",
    "Hillside",
    "Station",
    "Market",
    "Garden",
    "Lakeside",
    "Meadow",
)
_THINGS = {
    "gallery": ("Prints", "Studies", "Sketches", "Compositions", "Collection", "Exhibition", "Series"),
    "posts": ("Notes", "Diary", "Weekend", "Workshop Report", "Letters", "Journal"),
    "shop": ("Posters", "Tiles", "Stickers", "Postcards", "Cushions", "Magnets"),
    "wiki": ("Tradition", "School", "Movement", "Pattern Book", "Workshop", "Archive"),
}
_ADJECTIVES = ("Early", "Late", "Quiet", "New", "Second", "Annual", "Northern", "Modern", "Small", "Forgotten")
_SENTENCES = (
    "The room had been closed for most of the winter and smelled of paper.",
    "Nobody remembers who ordered the first set, but the invoices survive.",
    "We hung everything twice before the light was right.",
    "A longer description is in preparation and will follow in the next edition.",
    "Visitors often ask how long one sheet takes: about an afternoon, if the weather holds.",
    "Most of the material was given to the house after the renovation.",
    "The catalogue lists the items in the order of their arrival.",
    "It rained on both days, which kept the queues short and the coffee warm.",
    "Prices include tax; shipping is worked out at the till.",
    "The method spread along the river and reached the coast a generation later.",
    "Some of the labels were exchanged during the move, and not all have been put right.",
    "We photographed each piece on a plain ground, without any filter.",
    "Further reading is given at the end of the page.",
    "The series was continued under another title until the press closed.",
    "If a picture does not load, please be patient: the server is an old one.",
)


def page_title(section: str, rng: random.Random) -> str:
    """Return a title that fits the section."""
    return f"{rng.choice(_ADJECTIVES)} {rng.choice(_PLACES)} {rng.choice(_THINGS[section])}"


def paragraph(rng: random.Random) -> str:
    """Return two to four sentences."""
    return " ".join(rng.sample(_SENTENCES, rng.randint(2, 4)))
