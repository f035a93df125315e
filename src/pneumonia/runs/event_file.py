"""TensorBoard's event files: a TFRecord file of Event messages, one per epoch and picture.

The messages need five fields of three types, which are encoded here: TensorFlow's own writer cannot go on in a file,
and a training on JAX need not import TensorFlow.

Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord (records), event.proto and summary.proto in
https://github.com/tensorflow/tensorboard, https://protobuf.dev/programming-guides/encoding.
"""

import contextlib
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pneumonia.system.progress import say

NAME = "events.out.tfevents.run"  # TensorBoard reads files with `tfevents` in their names
VERSION = b"brain.Event:2"
HEADER = struct.Struct("<QI")  # length of the message, checksum of the length; after the message its checksum
CHECKSUM = struct.Struct("<I")


class EventFile:
    """A run's event file, which a resumed training continues: of each step its values, then its pictures.

    A killed process may have left a torn record, and a damaged checkpoint steps of epochs that are trained again: they
    are cut off, in place: a TensorBoard that has read nothing of them goes on, one that has must be restarted. A file
    that cannot be written must not end a training: one line says so, and nothing more is written.

    step: the last one in the file. pictures: number of its pictures.
    """

    def __init__(self, folder: Path, last_step: int):
        """Open or begin the file, without what follows step `last_step`."""
        self.path, self.file = folder / NAME, None
        self.step, self.pictures, kept = 0, 0, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for end, step in records(self.path.read_bytes() if self.path.exists() else b""):
                if step > last_step:
                    break
                self.pictures = self.pictures + 1 if 0 < step == self.step else 0
                kept, self.step = end, step
            self.file = self.path.open("r+b" if kept else "wb")
            self.file.truncate(kept)
            self.file.seek(kept)
        except OSError as error:
            self.give_up(error)
        if not kept:
            self.write(field(3, VERSION))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append values by tag."""
        summaries = [field(1, tag.encode()) + float_field(2, value) for tag, value in values.items()]
        self.write(integer_field(2, step) + field(5, b"".join(field(1, summary) for summary in summaries)))
        self.step, self.pictures = step, 0

    def picture(self, step: int, tag: str, encoded: bytes, height: int, width: int) -> None:
        """Append an RGB picture. encoded: a PNG or JPEG file."""
        image = integer_field(1, height) + integer_field(2, width) + integer_field(3, 3) + field(4, encoded)
        self.write(integer_field(2, step) + field(5, field(1, field(1, tag.encode()) + field(4, image))))
        self.pictures += 1

    def write(self, message: bytes) -> None:
        """Append a message, which gets the time."""
        if self.file is None:
            return
        message = b"\x09" + struct.pack("<d", time.time()) + message
        length = struct.pack("<Q", len(message))
        try:
            self.file.write(length + CHECKSUM.pack(masked_crc(length)) + message + CHECKSUM.pack(masked_crc(message)))
            self.file.flush()
        except OSError as error:
            self.give_up(error)

    def give_up(self, error: OSError) -> None:
        say(f"{self.path}: cannot be written ({error.strerror}); the training goes on without it")
        self.close()

    def close(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):  # on a full disk it tries once more to write what is left
                self.file.close()
            self.file = None


def records(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield (end in bytes, step) of every intact record; a damaged one ends them."""
    start = 0
    while start + HEADER.size <= len(content):
        length, checksum = HEADER.unpack_from(content, start)
        message_end = start + HEADER.size + length
        end = message_end + CHECKSUM.size
        if checksum != masked_crc(content[start : start + 8]) or end > len(content):
            return
        message = content[start + HEADER.size : message_end]
        if CHECKSUM.unpack_from(content, message_end)[0] != masked_crc(message):
            return
        yield end, step_of(message)
        start = end


def step_of(message: bytes) -> int:
    """Return the step of a message as `EventFile.write` encodes it: after the time, or none."""
    if message[9:10] != b"\x10":
        return 0
    step = 0
    for shift, byte in enumerate(message[10:20]):
        step |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            break
    return step


# ------------------------------------------------------------------ encoding


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def integer_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def float_field(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def field(number: int, value: bytes) -> bytes:
    """Encode a text or a message."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc_table()


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of the data, masked as in TFRecord files."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
