"""Write the notebook of every figure that is remade; run it after a change of the registry.

The report builds from the same text, so an installed package needs none of these files.
"""

from __future__ import annotations

from pathlib import Path

from workbench.reports.papers import ENTRIES
from workbench.reports.papers.notebook import source_of

FOLDER = Path(__file__).parent / "figures"


def main() -> None:
    """Write the percent scripts; those of boxes that are gone are removed."""
    FOLDER.mkdir(exist_ok=True)
    made = {FOLDER / f"{name}.py": entry for name, entry in ENTRIES.items() if entry.make}
    for old in set(FOLDER.glob("*.py")) - set(made):
        old.unlink()
    for path, entry in made.items():
        path.write_text(source_of(entry), encoding="utf-8")


if __name__ == "__main__":
    main()
