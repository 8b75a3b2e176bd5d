"""Names of inputs and outputs of a SavedModel that TensorFlow would not take from a function, such as those of a table's columns.

A `tf.function` takes the names of arguments, no two alike but for their case. What a server goes by, the signatures in the
SavedModel's protocol buffer, may have any. So functions get names of their own, and the signatures the true ones afterwards.
"""

import keyword
import pathlib
import re
from collections.abc import Iterable, Mapping

from tensorflow.core.protobuf import saved_model_pb2


def arguments(names: Iterable[str]) -> dict[str, str]:
    """For each name one that a function takes, the same if it can be: `bill length (mm)` becomes `bill_length_mm`."""
    found, taken = {}, {"self"}
    for name in names:
        base = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) else name
        base = f"column_{base}".rstrip("_") if not base[:1].isalpha() or keyword.iskeyword(base) else base
        following = 2
        argument = base
        while argument.lower() in taken:
            argument, following = f"{base}_{following}", following + 1
        taken.add(argument.lower())
        found[name] = argument
    return found


def restore(path: pathlib.Path, renamed: Mapping[str, Mapping[str, str]]) -> None:
    """Gives the signatures of a SavedModel the names of their inputs and outputs, from those by which they were saved, for each
    signature by name."""
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name, signature in saved.meta_graphs[0].signature_def.items():
        if name in renamed:
            for tensors in (signature.inputs, signature.outputs):
                own = {saved_as: tensors[saved_as].__class__.FromString(tensors[saved_as].SerializeToString()) for saved_as in tensors}
                tensors.clear()
                for true, saved_as in renamed[name].items():
                    if saved_as in own:
                        tensors[true].CopyFrom(own[saved_as])
    file.write_bytes(saved.SerializeToString(deterministic=True))
    (path / "fingerprint.pb").unlink(missing_ok=True)  # of the signatures before
