"""One box of a paper: how it is remade, or why it is not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import ArgumentError

if TYPE_CHECKING:
    from workbench.reports.papers.charts import Figure

Paper = Literal["bergsma", "qiu"]
Scale = Literal["quick", "full"]
PAPERS: Mapping[Paper, str] = {
    "bergsma": "Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087",
    "qiu": "Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119",
}
_ROOM = "workbench.reports.papers"


@dataclass(frozen=True)
class Entry:
    """One box of a paper.

    Parameters
    ----------
    name : str
        Name on the command line, such as ``bergsma-fig-5``.
    title : str
        What the box shows.
    question : str
        What its figure answers here.
    make : str
        ``module.function`` that remakes it; empty where none does.
    data : tuple of str
        Curves the function takes, by the name of their file.
    full : mapping of str to value
        Parameters at full scale, where they differ from the defaults.
    needs : str
        Why the box is not remade; empty where it is.
    """

    name: str
    title: str
    question: str
    make: str = ""
    data: tuple[str, ...] = ()
    full: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""

    @property
    def paper(self) -> Paper:
        """Which paper the box is of."""
        return "bergsma" if self.name.startswith("bergsma") else "qiu"

    @property
    def label(self) -> str:
        """What the paper calls it: ``Figure 5``."""
        kind, number = self.name.split("-", 2)[1:]
        return f"{'Figure' if kind == 'fig' else 'Table'} {number.replace('-', ', ')}"

    @property
    def module(self) -> str:
        """Module of the function."""
        return f"{_ROOM}.{self.make.split('.')[0]}"

    def function(self) -> Callable[..., Figure]:
        """Import and return the function that remakes the box.

        Raises
        ------
        ArgumentError
            If none does; says why.
        """
        if not self.make:
            msg = f"{self.name} is not remade: {self.needs}."
            raise ArgumentError(msg)
        found: Callable[..., Figure] = getattr(import_module(self.module), self.make.split(".")[1])
        return found

    def parameters(self, scale: Scale = "quick") -> dict[str, Any]:
        """Return the parameters of the function at a scale, in its order."""
        signature = inspect.signature(self.function())
        defaults = {
            name: p.default
            for name, p in signature.parameters.items()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return defaults | (dict(self.full) if scale == "full" else {})
