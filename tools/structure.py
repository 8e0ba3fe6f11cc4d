"""Print the structure of the package: modules in each room, circles, and imports that run up.

Run as `make structure`. Exits with 1 if there is a circle or an import that runs up; the floors are
those that `lint-imports` holds (`tool.importlinter` in pyproject.toml).
"""

from __future__ import annotations

import graphlib
import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "ordain"


def read_floors(text: str) -> dict[str, int]:
    """The floor of each room, 1 for the lowest; from pyproject.toml's text."""
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {
        room.strip(): len(layers) - place
        for place, layer in enumerate(layers)
        for room in layer.split("|")
    }


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty if there is none."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def main() -> int:
    """Print the structure."""
    floors = read_floors((ROOT / "pyproject.toml").read_text())
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    imports = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    packages = {name for name in imports if graph.find_children(name)}
    rooms = Counter(name.rpartition(".")[0] for name in imports if name not in packages)

    def floor(module: str) -> int:
        return floors.get(module.split(".")[1], 0) if "." in module else len(floors)

    for room in sorted(rooms, key=lambda name: (-floor(name), name)):
        print(f"{floor(room):>3}  {room:<36}{rooms[room]:>4} modules")
    up = [
        (one, other)
        for one, found in imports.items()
        for other in found
        if floor(other) > floor(one) and "." in other
    ]
    circle = find_circle(imports)
    largest, count = rooms.most_common(1)[0]
    print(f"modules {sum(rooms.values())}, largest room {largest} with {count}")
    print(
        f"imports that run up: {len(up)}", *(f"  {one} -> {other}" for one, other in up), sep="\n"
    )
    print(f"circles: {' -> '.join(circle) or 'none'}")
    return 1 if up or circle else 0


if __name__ == "__main__":
    sys.exit(main())
