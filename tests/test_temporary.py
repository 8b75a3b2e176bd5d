"""The folder of a process: gone when it has ended, and when it was killed, as soon as another one starts."""

import os
import subprocess
import sys
import tempfile

from conftest import ROOT

from training.temporary import PREFIX, own_folder

KILLED = """
import os, tempfile
from training.temporary import own_folder
with own_folder() as folder:
    print(folder, tempfile.mkstemp()[1], flush=True)
    os._exit(0)
"""


def test_what_a_killed_process_left_is_removed(tmp_path, monkeypatch):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True, check=True).stdout
    left, file = said.split()
    assert os.path.dirname(file) == left and os.path.exists(file)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with own_folder():
        assert os.path.exists(left)  # its process may have begun just now
    os.utime(left, (0, 0))
    with own_folder() as folder:
        assert not os.path.exists(left) and tempfile.gettempdir() == str(folder)
        os.utime(folder, (0, 0))
        with own_folder():
            assert folder.exists()  # its process is there
    assert os.listdir(tmp_path) == [] and tempfile.gettempdir() == str(tmp_path) and folder.name.startswith(PREFIX)
