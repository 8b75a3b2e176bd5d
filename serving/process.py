"""The embedded server in a background process, for notebooks, tests and demonstrations."""

import collections
import os
import re
import subprocess
import sys
import threading
import weakref

GRACE = 10  # seconds for the server to end before it is killed
ADDRESSES = (
    r"Serving .* at (?:(?P<rest>https?://[^/]+)/v1/models/)?(?: and )?"
    r"(?:grpc://(?P<grpc>\S+))?(?: and )?(?P<socket>unix:.+)?$"
)


class Server:
    """`python -m serving serve` in the background. Leaving the context manager stops it, as does the end of the program, even
    of one that is killed.

    Args:
        directory: folder with MODEL/VERSION folders; None if the flags say what is served.
        flags: of `python -m serving serve`, by name: `Server(model_config_file="models.config", workers=2)`. Ports that are
            not given are free ones.

    Once constructed, it answers: `url` is the address of the REST API and `grpc` that of gRPC, of its socket if it has no port;
    each is None if it is off.

    Raises:
        RuntimeError: the server did not start; with its output.
    """

    def __init__(self, directory: str | os.PathLike | None = None, **flags):
        flags = {"port": 0, "rest_api_port": 0, "end_with_stdin": True, **flags}
        command = [sys.executable, "-m", "serving", "serve", *([] if directory is None else [str(directory)])]
        command += [f"--{name}={value}" for name, value in flags.items()]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, text=True, **pipes)
        self._end = weakref.finalize(self, _end, self.process)
        output = []
        for line in self.process.stdout:
            address = re.match(ADDRESSES, line)
            if address:
                break
            output.append(line)
        else:
            raise RuntimeError(f"Expected the server to start. Received: {''.join(output)}".rstrip())
        self.url, self.grpc = address["rest"], address["grpc"] or address["socket"]
        # A pipe that nobody reads fills up, and then the server would block when it writes.
        threading.Thread(target=collections.deque, args=(self.process.stdout, 0), daemon=True).start()

    def stop(self) -> None:
        """Stops the process and waits for its end."""
        self._end()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
