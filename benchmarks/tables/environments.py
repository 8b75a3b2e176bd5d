"""Virtual environments of those who cannot share the zoo's: what one needs is listed in a file `NAME.txt`, here in `others`."""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent / "others"


def environment(requirements: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Python of the virtual environment of this list in a folder, made on the first call or when the list has changed."""
    home = folder.resolve() / requirements.stem
    python, stamp = home / "bin" / "python", home / "installed.txt"
    if not (stamp.exists() and stamp.read_text() == requirements.read_text()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = ["install", "--quiet", "--disable-pip-version-check", "--requirement", requirements]
        subprocess.run([python, "-m", "pip", *install], check=True)
        stamp.write_text(requirements.read_text())
    return python


def run(name: str, folder: pathlib.Path, script: str, *arguments: object) -> None:
    """Runs `others/SCRIPT` in the environment of this name.

    Raises:
        RuntimeError: it has failed.
    """
    command = [environment(HERE / f"{name}.txt", folder), HERE / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Expected {script} to end well. Received: {done.stderr.strip()[-1000:]}. Try it by itself.")
