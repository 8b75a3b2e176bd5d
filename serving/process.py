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
    r"(?:grpc://(?P<grpc>\S+))?(?: and )?(?:unix:.+)?$"
)


class Server:
    """`python -m serving serve` in the background. Leaving the context manager, or ending the program, stops it.

    Args:
        directory: folder with MODEL/VERSION folders; None if the flags say what is served.
        port: of the REST API; 0 takes a free one.
        flags: of `python -m serving serve`, by name: `Server(model_config_file="models.config", workers=2)`.

    Once constructed, it answers: `url` is the address of the REST API and `grpc` that of gRPC, each None if it is off.

    Raises:
        RuntimeError: the server did not start; with its output.
    """

    def __init__(self, directory: str | os.PathLike | None = None, port: int = 0, **flags):
        flags = {"port": 0, "rest_api_port": port, **flags}
        command = [sys.executable, "-m", "serving", "serve", *([] if directory is None else [str(directory)])]
        command += [f"--{name}={value}" for name, value in flags.items()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._end = weakref.finalize(self, _end, self.process)
        output = []
        for line in self.process.stdout:
            address = re.match(ADDRESSES, line)
            if address:
                break
            output.append(line)
        else:
            raise RuntimeError(f"Expected the server to start. Received: {''.join(output)}".rstrip())
        self.url, self.grpc = address["rest"], address["grpc"]
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
