"""The asset graph as one SVG, drawn from the definitions: groups side by side, depth from top to bottom."""

from collections import defaultdict
from html import escape
from pathlib import Path

import dagster as dg

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 138, 28, 10, 24, 16
COLOURS = {
    "crawl": "#2f6f9f",
    "captioner": "#b0632b",
    "capfilt": "#8a4fa3",
    "duplicates": "#2a7f7a",
    "blend": "#b33951",
    "models": "#3b7d4f",
    "evals": "#7a6a1f",
    "catalog": "#555e68",
}


def draw_graph(graph: dg.Definitions, path: Path) -> None:
    """Write the graph to ``path``; an arrow from a parent is left out where another path leads from it as well."""
    nodes = graph.resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in nodes.get(key).parent_keys}
        for key in nodes.toposorted_asset_keys
    }
    group = {key.to_user_string(): nodes.get(key).group_name for key in nodes.get_all_asset_keys()}
    depth: dict[str, int] = {}
    for name, above in parents.items():
        depth[name] = 1 + max((depth[parent] for parent in above), default=-1)
    places = _places(depth, group)
    width = max(x for x, _ in places.values()) + WIDTH + MARGIN
    height = max(y for _, y in places.values()) + HEIGHT + MARGIN
    lines = [_arrow(places[parent], places[name]) for name in parents for parent in sorted(_direct(name, parents))]
    boxes = [_box(name, place, COLOURS.get(group[name] or "", "#555e68")) for name, place in places.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" rx="8" fill="#fbfaf7"/>{"".join(lines + boxes)}</svg>\n'
    )


def _places(depth: dict[str, int], group: dict[str, str | None]) -> dict[str, tuple[int, int]]:
    """Return the corner of each box: a band of columns per group, in the order in which the data goes."""
    cells: dict[str | None, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, row in depth.items():
        cells[group[name]][row].append(name)
    places = {}
    left = MARGIN
    for band in (*COLOURS, *sorted(set(map(str, cells)) - set(COLOURS))):
        for row, names in cells[band].items():
            for column, name in enumerate(names):
                places[name] = (left + column * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y))
        left += max((len(names) for names in cells[band].values()), default=0) * (WIDTH + GAP_X) + GAP_X
    return places


def _direct(name: str, parents: dict[str, set[str]]) -> set[str]:
    """Return the parents that no other parent descends from."""

    def above(other: str) -> set[str]:
        return {ancestor for parent in parents[other] for ancestor in {parent, *above(parent)}}

    reached = {ancestor for parent in parents[name] for ancestor in above(parent)}
    return parents[name] - reached


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1, x2, y2 = start[0] + WIDTH // 2, start[1] + HEIGHT, end[0] + WIDTH // 2, end[1]
    bend = max(14, (y2 - y1) // 2)
    curve = f"M{x1} {y1} C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"
    return f'<path d="{curve}" fill="none" stroke="#9aa3ad" stroke-width="1.3"/>'


def _box(name: str, place: tuple[int, int], colour: str) -> str:
    x, y = place
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}"/>'
        f'<text x="{x + WIDTH // 2}" y="{y + HEIGHT // 2 + 4}" text-anchor="middle" fill="white">{escape(name)}</text>'
    )
