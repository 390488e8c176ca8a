"""Ready-made messages for the peers: the same bytes as what the program generates."""

import subprocess
from pathlib import Path

from . import Failed
from .ours import GENERATED


class Lines:
    """Files of so many lines, each written once."""

    def __init__(self, ours):
        self.ours = ours

    def file(self, messages):
        path = Path(self.ours.folder) / f"{messages}.ndjson"
        if not path.exists():
            partial = path.with_suffix(".partial")
            try:
                self.write(partial, messages)
                partial.rename(path)
            except OSError as error:
                raise Failed(f"{path} could not be written: {error.strerror}") from error
        return path

    def write(self, path, messages):
        argv = [str(word) for word in self.ours.argv("produce", "--dry-run", messages, "--seed", 1, *GENERATED)]
        with subprocess.Popen(argv, cwd=self.ours.folder, stdout=subprocess.PIPE) as made, path.open("wb") as out:
            out.writelines(map(payload, made.stdout))
        if made.returncode:
            raise Failed(f"produce --dry-run ended with {made.returncode}")


def payload(line):
    """The message of a line of `--dry-run`, whose last member is its value."""
    return line.partition(b'"value":')[2].rstrip()[:-1] + b"\n"
