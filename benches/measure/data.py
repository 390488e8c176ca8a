"""Ready-made messages for the peers: lines of JSON of the same shape and length as what the program generates."""

import json
import random
from pathlib import Path

from . import Failed
from .ours import SIZE


class Lines:
    """Files of so many lines, each written once."""

    def __init__(self, folder):
        self.folder = folder

    def file(self, messages):
        path = Path(self.folder) / f"{messages}.ndjson"
        if not path.exists():
            partial = path.with_suffix(".partial")
            try:
                with partial.open("w") as out:
                    out.writelines(lines(messages))
                partial.rename(path)
            except OSError as error:
                raise Failed(f"{path} could not be written: {error.strerror}") from error
        return path


def lines(messages, producers=4, size=SIZE):
    """As `generate_message()` makes them, filled up to the length with what compresses as badly as a stamp does."""
    rng = random.Random(1)
    for number in range(messages):
        producer, sequence = number % producers, number // producers
        message = {
            "id": number,
            "producer": producer,
            "sequence": sequence,
            "timestamp_ms": 1_767_225_600_000 + number // 500,
            "text": f"message {sequence} of producer {producer}",
        }
        start = json.dumps(message, separators=(",", ":"))[:-1]
        fill = size - len(start) - len(',"fill":""}')
        yield f'{start},"fill":"{rng.getrandbits(4 * fill):0{fill}x}"}}\n'
