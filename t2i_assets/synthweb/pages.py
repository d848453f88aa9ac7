"""Pages as HTML bytes."""

from functools import lru_cache
from pathlib import Path

import jinja2

from t2i_assets.synthweb.config import stream
from t2i_assets.synthweb.diseases import PageDisease, PageTrait
from t2i_assets.synthweb.pictures import Picture
from t2i_assets.synthweb.prose import paragraph
from t2i_assets.synthweb.site import SECTIONS, Page, Site, listing_path

META_ROBOTS = {
    PageDisease.NOINDEX: "noindex",
    PageDisease.NOAI: "noai",
    PageDisease.NOIMAGEAI: "noimageai",
    PageDisease.NOIMAGEINDEX: "noimageindex",
}
CHARSET = {PageDisease.LATIN1: "iso-8859-1"}
LAZY_ATTRIBUTES = ("data-src", "data-original", "data-lazy-src")
NOT_UTF8 = b"caf\xe9 \xff\xfe \xc3\x28"


def page_html(site: Site, page: Page, origin: str) -> bytes:
    """Return the HTML of a content page, in the encoding and with the flaws of its disease."""
    rng = stream(site.config.seed, "prose", page.number)
    charset = CHARSET.get(page.disease, "utf-8")
    html = _template(f"{page.section}.html").render(
        site=site,
        page=page,
        kind=page.section,
        title=page.title,
        charset=charset,
        origin=origin,
        robots=META_ROBOTS.get(page.disease),
        traits=page.traits,
        sections=SECTIONS,
        words=[paragraph(rng) for _ in range(5)],
        url=lambda picture: _picture_url(picture, page),
        lazy_attribute=LAZY_ATTRIBUTES[page.number % len(LAZY_ATTRIBUTES)],
        neighbours=_neighbours(site, page),
    )
    body = html.encode(charset, errors="xmlcharrefreplace")
    if page.disease is PageDisease.INVALID_UTF8:
        body = body.replace(b"</h1>", b"</h1>\n<p>" + NOT_UTF8 + b"</p>", 1)
    return body


def listing_html(site: Site, path: str) -> bytes | None:
    """Return the HTML of the home page or of a listing; None where there is no such listing."""
    if path == "/":
        return _listing(
            site,
            "home.html",
            "Home",
            site.pages[: len(SECTIONS) * 2],
            [],
            counts={section: sum(page.section == section for page in site.pages) for section in SECTIONS},
        )
    listings = site.listings()
    if path not in listings:
        return None
    section = path.split("/")[1]
    others = [other for other in listings if other.split("/")[1] == section]
    pager = [(f"Page {number + 1}", listing_path(section, number)) for number in range(len(others))]
    return _listing(site, "listing.html", section.capitalize(), listings[path], pager)


def _listing(
    site: Site, template: str, title: str, entries: list[Page] | tuple[Page, ...],
    neighbours: list[tuple[str, str]], **more: object,
) -> bytes:  # fmt: skip
    html = _template(template).render(
        kind="list",
        title=title,
        charset="utf-8",
        robots=None,
        traits=frozenset(),
        sections=SECTIONS,
        entries=entries,
        words=[paragraph(stream(site.config.seed, "prose", title))],
        neighbours=neighbours,
        **more,
    )
    return html.encode()


def _neighbours(site: Site, page: Page) -> list[tuple[str, str]]:
    links = [("All", listing_path(page.section, 0))]
    for label, number in (("Earlier", page.number - len(SECTIONS)), ("Later", page.number + len(SECTIONS))):
        if 0 <= number < len(site.pages):
            links.append((label, f"{site.pages[number].entry}#top"))
    return links


def _picture_url(picture: Picture, page: Page) -> str:
    """Return the URL as the page writes it: relative to <base href> where the page has one, else from the root."""
    if PageTrait.BASE_HREF in page.traits and picture.entry.startswith("/media/"):
        return picture.entry.removeprefix("/media/")
    return picture.entry


@lru_cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)
