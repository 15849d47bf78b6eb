"""Where a store lies: a folder, or a PostgreSQL database with its curves in another place.

An address keeps the password of its database to itself: what it prints as never holds it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from workbench.errors import ArgumentError
from workbench.text import without_password

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_DATABASES = ("postgresql", "postgres", "postgresql+psycopg")
_SAID = "postgresql://USER:PASSWORD@HOST/DATABASE?curves=/shared/folder"


@dataclass(frozen=True)
class Address:
    """Where a store lies; made by `to_address`, and taken by ``open_store``.

    Parameters
    ----------
    root : Path or None
        Folder of a store on this machine.
    url : URL or None
        Database of a store on PostgreSQL, with its password.
    curves : str or None
        Place of the consolidated curves, where the address states one.
    """

    root: Path | None
    url: sa.URL | None
    curves: str | None = None

    def __str__(self) -> str:
        if self.url is None:
            return str(self.root)
        return self.url.render_as_string(hide_password=True)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    @property
    def name(self) -> str:
        """Name for people: that of the folder, or of the database."""
        if self.url is not None:
            return self.url.database or "store"
        return (self.root or Path()).name or str(self.root)

    def apart(self) -> tuple[str, str | None]:
        """Return the address without a password, as text for ``open_store``, and the password.

        Where the text is kept, such as in a report, the password goes another way: PGPASSWORD.
        """
        if self.url is None:
            return str(self.root), None
        bare = self.url._replace(password=None).render_as_string(hide_password=False)
        return bare, self.url.password and str(self.url.password)


def to_address(path: str | os.PathLike[str] | Address, *, curves: str | None = None) -> Address:
    """Return the address a path or an URL means.

    Parameters
    ----------
    path : path, str or Address
        Folder, or ``postgresql://user:password@host/database``, where ``?curves=`` may name the
        place of the consolidated curves.
    curves : str, optional
        The same place, given apart.

    Returns
    -------
    Address

    Raises
    ------
    ArgumentError
        If it is another kind of URL, or one that cannot be read.
    """
    if isinstance(path, Address):
        return path if curves is None else Address(path.root, path.url, curves)
    text = os.fspath(path)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Address(Path(text), None, curves)
    if scheme[1].lower() not in _DATABASES or not text.startswith(f"{scheme[0]}/"):
        msg = (
            f"store {without_password(text)!r} is an URL of no known kind. Give a folder, or a "
            f"database as text: {_SAID}"
        )
        raise ArgumentError(msg)
    return _database(text, curves)


def _database(text: str, curves: str | None) -> Address:
    try:
        url = sa.make_url(text)
        readable = "@" not in (url.host or "") and bool(url.database)
    except (sa.exc.ArgumentError, ValueError):
        readable = False
    if not readable:
        msg = (
            f"store {without_password(text)!r} cannot be read as an URL. Write {_SAID}, with "
            "@ : / ? and % of a user name or password as %40 %3A %2F %3F and %25."
        )
        raise ArgumentError(msg)
    if "sslpassword" in url.query:
        msg = f"store {without_password(text)!r} holds the password of a key file. Leave it away."
        raise ArgumentError(msg)
    stated, password = url.query.get("curves"), url.query.get("password")
    if isinstance(password, str):  # where every part of this package expects it
        url = url.set(password=password).difference_update_query(["password"])
    if curves is not None and stated is not None and curves != stated:
        msg = f"store {url} names curves= twice, as {stated!r} and as {curves!r}. Give one place."
        raise ArgumentError(msg)
    place = curves if curves is not None else stated
    bare = url.difference_update_query(["curves"]).set(drivername="postgresql")
    return Address(None, bare, place if place is None else str(place))
