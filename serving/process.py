"""The embedded server in a process of its own, for notebooks, tests and demonstrations."""

import os
import re
import subprocess
import sys


class Server:
    """`python -m serving serve` in the background; a context manager that stops it.

    Args:
        directory: holds MODEL/VERSION folders.
        port: of the REST API; 0 takes a free one.

    `url` is its address once constructed, when it already answers.

    Raises:
        RuntimeError: the server did not start; with its own words.
    """

    def __init__(self, directory: str | os.PathLike, port: int = 0):
        command = [sys.executable, "-m", "serving", "serve", str(directory), "--rest_api_port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        address = re.search(r"http://[^/]+", line)
        if not address:
            rest = self.process.communicate()[0]
            raise RuntimeError(f"Expected the server to start. Received: {line}{rest}".rstrip())
        self.url = address[0]

    def stop(self) -> None:
        """Ends the process and waits until it is gone."""
        self.process.terminate()
        self.process.communicate()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()
