"""One record of a TensorBoard event file: scalars, texts, hyper-parameters, restarts.

Field numbers are those of TensorFlow's event, summary and tensor messages and of TensorBoard's
hparams plug-in.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from workbench.io.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    WireError,
    double,
    fields,
    signed,
    text,
    varints,
)

HPARAMS = b"_hparams_/"
_FLOAT, _STRING, _BFLOAT16, _HALF = 1, 7, 14, 19
# dtype: how one element lies in tensor_content, and the field that holds elements otherwise
_ELEMENTS = {
    _FLOAT: ("<f", 5),
    2: ("<d", 6),
    3: ("<i", 7),
    4: ("<B", 7),
    5: ("<h", 7),
    6: ("<b", 7),
    9: ("<q", 10),
    10: ("<?", 11),
    _BFLOAT16: ("<H", 13),
    17: ("<H", 7),
    _HALF: ("<e", 13),
    22: ("<I", 16),
    23: ("<Q", 17),
}
_OTHER_KINDS = {3: "histogram", 4: "image", 5: "histogram", 6: "clip of audio"}


@dataclass(slots=True)
class Event:
    """What one record says.

    Attributes
    ----------
    wall_time : float
        Seconds since 1970.
    step : int
    scalars : list of (tag, value)
    texts : list of (tag, text)
        Text summaries.
    hparams : dict of str to value
        Of the hparams plug-in.
    restarts : bool
        Whether a session starts here, which makes what was logged from this step on void.
    left_out : list of str
        What else it holds, by kind.
    """

    wall_time: float = 0.0
    step: int = 0
    scalars: list[tuple[bytes, float]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    hparams: dict[str, Any] = field(default_factory=dict)
    restarts: bool = False
    left_out: list[str] = field(default_factory=list)


def parse_event(record: memoryview) -> Event:
    """Read one record.

    Raises
    ------
    WireError
        If it is no event.
    """
    event = Event()
    for number, kind, integer, content in fields(record):
        if number == 1 and kind == FIXED64:
            event.wall_time = double(content)
        elif number == 2 and kind == VARINT:
            event.step = signed(integer)
        elif number == 5 and kind == BYTES:
            for inner, inner_kind, _, value in fields(content):
                if inner == 1 and inner_kind == BYTES:
                    _take_value(event, value)
        elif number == 7 and kind == BYTES:
            statuses = [value for inner, _, value, _ in fields(content) if inner == 1]
            event.restarts = statuses[-1:] == [1]
    return event


def _take_value(event: Event, value: memoryview) -> None:
    tag = node = metadata = b""
    simple: float | None = None
    tensor: bytes | None = None
    other = ""
    for number, kind, _, content in fields(value):
        if number == 1 and kind == BYTES:
            tag = bytes(content)
        elif number == 2 and kind == FIXED32:
            simple, tensor, other = struct.unpack("<f", content)[0], None, ""
        elif number == 8 and kind == BYTES:
            simple, tensor, other = None, (tensor or b"") + content, ""
        elif number == 7 and kind == BYTES:
            node = bytes(content)
        elif number == 9 and kind == BYTES:
            metadata += content
        elif number in _OTHER_KINDS and kind == BYTES:
            simple, tensor, other = None, None, _OTHER_KINDS[number]
    tag = tag or node
    if tag.startswith(HPARAMS):
        event.hparams.update(_hparams(memoryview(metadata)))
    elif simple is not None:
        event.scalars.append((tag, simple))
    elif tensor is not None:
        _take_tensor(event, tag, memoryview(tensor))
    elif other:
        event.left_out.append(other)


def _take_tensor(event: Event, tag: bytes, tensor: memoryview) -> None:
    dtype, count, inline, texts = 0, 1, memoryview(b""), 0
    said = memoryview(b"")
    listed: list[Field] = []
    for entry in fields(tensor):
        number, kind, integer, content = entry
        if number == 1 and kind == VARINT:
            dtype = integer
        elif number == 2 and kind == BYTES:
            count *= _elements_of_shape(content)
        elif number == 4 and kind == BYTES:
            inline = content
        elif number == 8 and kind == BYTES:
            texts, said = texts + 1, content
        elif number != 3 and len(listed) < 2:  # 3 is a version; a second number is one too many
            listed.append(entry)
    if dtype == _STRING and texts == 1:
        event.texts.append((text(memoryview(tag)), text(said)))
        return
    values = _numbers(dtype, inline, listed) if count == 1 else []
    if len(values) == 1:
        event.scalars.append((tag, values[0]))
    else:
        event.left_out.append("tensor not of one number")


def _elements_of_shape(shape: memoryview) -> int:
    count = 1
    for number, kind, _, dim in fields(shape):
        if number == 2 and kind == BYTES:
            sizes = [signed(size) for inner, _, size, _ in fields(dim) if inner == 1]
            count *= min(sizes[-1], 2) if sizes and sizes[-1] >= 0 else 0
    return min(count, 2)  # how many more than one does not matter, and could be any number


def _numbers(dtype: int, inline: memoryview, listed: list[Field]) -> list[float]:
    """Return up to two elements of a numeric tensor; none when it is not numeric."""
    if dtype not in _ELEMENTS:
        return []
    layout, home = _ELEMENTS[dtype]
    if len(inline):
        whole = len(inline) == struct.calcsize(layout)
        raw: list[float] = list(struct.unpack(layout, inline)) if whole else []
    else:
        raw = [value for entry in listed if entry[0] == home for value in _listed(layout, entry)]
    if dtype == _BFLOAT16:
        return [struct.unpack("<f", struct.pack("<I", int(bits) << 16))[0] for bits in raw]
    return [float(value) for value in raw]


def _listed(layout: str, entry: Field) -> list[float]:
    """Return up to two elements of a repeated field, packed or not."""
    _, kind, integer, content = entry
    if layout in ("<f", "<d"):
        size = struct.calcsize(layout)
        if kind == VARINT or len(content) % size:
            msg = "numbers cut in two"
            raise WireError(msg)
        return [value[0] for value in struct.iter_unpack(layout, content[: 2 * size])]
    if kind not in (VARINT, BYTES):
        msg = "integers of a fixed width"
        raise WireError(msg)
    given = [integer] if kind == VARINT else varints(content, most=2)
    if layout == "<e":
        return [struct.unpack("<e", struct.pack("<H", bits & 0xFFFF))[0] for bits in given]
    if layout == "<H":
        return [bits & 0xFFFF for bits in given]
    return [float(value if layout in ("<I", "<Q", "<?") else signed(value)) for value in given]


def _hparams(metadata: memoryview) -> dict[str, Any]:
    """Return the hyper-parameters in the metadata of a session's start."""
    out: dict[str, Any] = {}
    # plugin_data, its content, session_start_info, its hparams
    for entry in _descend([metadata], (1, 2, 3, 1)):
        name, value = "", None
        for number, kind, _, content in fields(entry):
            if number == 1 and kind == BYTES:
                name = text(content)
            elif number == 2 and kind == BYTES:
                value = _hparam(content)
        if value is not None:
            out[name] = value
    return out


def _descend(messages: list[memoryview], path: tuple[int, ...]) -> list[memoryview]:
    for step in path:
        messages = [
            content
            for message in messages
            for number, kind, _, content in fields(message)
            if number == step and kind == BYTES
        ]
    return messages


def _hparam(value: memoryview) -> float | str | bool | None:
    found: float | str | bool | None = None
    for number, kind, integer, content in fields(value):
        if number == 2 and kind == FIXED64:
            found = double(content)
        elif number == 3 and kind == BYTES:
            found = text(content)
        elif number == 4 and kind == VARINT:
            found = bool(integer)
    return found
