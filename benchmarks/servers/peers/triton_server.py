"""A dense SavedModel in Triton's Python backend (folder triton), with the server program that `nvidia-pytriton` ships.

python triton_server.py MODEL PORT
"""

import os
import pathlib
import sys

import pytriton


def link_stub(triton: pathlib.Path) -> None:
    """The package has one stub per version of Python, the backend looks for one beside its library."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        known = ", ".join(sorted(folder.name for folder in stub.parents[1].iterdir()))
        raise FileNotFoundError(f"Expected a Python that Triton's backend knows. Received: {version}. Try one of {known}.")
    link = triton / "backends" / "python" / stub.name
    if not link.exists():
        link.symlink_to(stub)


def main(model: str, port: str) -> None:
    """Become the server. The backend finds its packages by the Python that is first in PATH."""
    triton = pathlib.Path(pytriton.__file__).parent / "tritonserver"
    link_stub(triton)
    binary = str(triton / "bin" / "tritonserver")
    folders = f"--model-repository={pathlib.Path(__file__).parent / 'triton'}", f"--backend-directory={triton / 'backends'}"
    ports = (
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=0",
        "--allow-metrics=0",
        "--disable-auto-complete-config",
    )
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    os.execve(binary, [binary, *folders, *ports, "--log-info=0"], os.environ | {"MODEL_PATH": model, "PATH": path})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
