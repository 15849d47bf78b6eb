"""``s3://bucket/prefix?endpoint=...&region=...``: where curves lie on S3, without credentials."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode, urlsplit

from workbench.errors import ArgumentError

KEEP_DAYS = 30
_EXAMPLE = "s3://bucket/prefix?endpoint=https://host:9000&region=us-east-1"
_OPTIONS = ("endpoint", "region", "keep_days")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class S3Place:
    """A prefix of a bucket.

    Parameters
    ----------
    bucket, prefix : str
        The prefix without slashes around it.
    endpoint : str, optional
        Address of a server that speaks S3; by default that of AWS.
    region : str, optional
        By default the one the AWS configuration names.
    keep_days : int
        How long a generation can be read after the next one has come [days].
    store : str
        Which store the curves belong to; made up when the store is.
    """

    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None
    keep_days: int = KEEP_DAYS
    store: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def recorded(self) -> str:
        """The place as the registry keeps it; `parse_place` reads it back."""
        keep = None if self.keep_days == KEEP_DAYS else str(self.keep_days)
        options = {"endpoint": self.endpoint, "region": self.region, "keep_days": keep}
        query = urlencode({n: v for n, v in (options | {"store": self.store}).items() if v})
        return f"{self}?{query}"


def new_place(text: str) -> S3Place:
    """Read a place that a user gave for a new store; see `parse_place`."""
    place = parse_place(text)
    if place.store:
        msg = f"curves={str(place)!r} names a store; leave store= away. Example: {_EXAMPLE}"
        raise ArgumentError(msg)
    return replace(place, store=uuid.uuid4().hex[:12])


def parse_place(text: str) -> S3Place:
    """Read a place.

    Parameters
    ----------
    text : str
        ``s3://bucket/prefix`` with any of ``endpoint``, ``region`` and ``keep_days`` behind ``?``.

    Raises
    ------
    ArgumentError
        If it is no place on S3, or holds credentials; the message does not repeat those.
    """
    scheme, colon, rest = text.partition("://")
    if colon and scheme.lower() in ("file", "icechunk", "local"):
        msg = (
            f"curves on {scheme}:// are not offered: Icechunk in a local folder lost up to 18 % of "
            "acknowledged commits with eight writers. Leave curves= away: a folder keeps its "
            f"curves as plain Zarr. Or name an object store: {_EXAMPLE}"
        )
        raise ArgumentError(msg)
    if scheme != "s3" or not colon or "#" in rest:
        msg = f"curves must lie on S3, found a place that does not. Example: {_EXAMPLE}"
        raise ArgumentError(msg)
    name, _, query = rest.partition("?")
    bucket, _, prefix = name.partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if "@" in name.partition("/")[0] or any("@" in value for value in options.values()):
        _refuse_credentials()
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket) or not prefix or not prefix.isprintable() or " " in prefix:
        msg = (
            f"curves=s3://{bucket}/{prefix} names no bucket and prefix; one bucket may hold many "
            f"stores, so a prefix is needed. Example: {_EXAMPLE}"
        )
        raise ArgumentError(msg)
    return _with_options(S3Place(bucket, prefix), options)


def _with_options(place: S3Place, options: dict[str, str]) -> S3Place:
    unknown = sorted(set(options) - {*_OPTIONS, "store"})
    if any("key" in name.lower() or "token" in name.lower() for name in unknown):
        _refuse_credentials()
    if unknown:
        msg = f"{place} has the unknown option {unknown[0]!r}. Known are {', '.join(_OPTIONS)}."
        raise ArgumentError(msg)
    days = options.get("keep_days", str(KEEP_DAYS))
    if not days.isdecimal() or int(days) < 1:
        msg = f"keep_days of {place} must be a whole number of days, at least 1, found {days!r}."
        raise ArgumentError(msg)
    return replace(
        place,
        endpoint=_endpoint(options["endpoint"]) if options.get("endpoint") else None,
        region=options.get("region") or None,
        keep_days=int(days),
        store=options.get("store", ""),
    )


def _endpoint(text: str) -> str:
    found = urlsplit(text)
    try:
        sound = found.scheme in ("http", "https") and found.hostname and found.port != 0
    except ValueError:  # a port that is no number
        sound = False
    if not sound or found.query or found.path.strip("/"):
        msg = f"endpoint {text!r} is no address of a server. Example: https://host:9000"
        raise ArgumentError(msg)
    return f"{found.scheme}://{found.netloc}"


def _refuse_credentials() -> None:
    msg = (
        "Credentials do not belong into the place of the curves, which is written into the "
        "registry. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use the AWS configuration "
        f"files. Example of a place: {_EXAMPLE}"
    )
    raise ArgumentError(msg)
