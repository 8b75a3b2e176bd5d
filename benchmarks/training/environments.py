"""Virtual environments of those who cannot share the zoo's: what one needs is listed in `peers/NAME.txt`."""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent / "peers"


def environment(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Python of the virtual environment of this name in a folder, made on the first call or when the list has changed."""
    requirements = HERE / f"{name}.txt"
    home = folder.resolve() / name
    python, stamp = home / "bin" / "python", home / "installed.txt"
    if not (stamp.exists() and stamp.read_text() == requirements.read_text()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = ["install", "--quiet", "--disable-pip-version-check", "--requirement", requirements]
        subprocess.run([python, "-m", "pip", *install], check=True)
        stamp.write_text(requirements.read_text())
    return python
