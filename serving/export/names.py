"""Names of a SavedModel's inputs and outputs that are no names of arguments, such as those of a table's columns.

A `tf.function` takes names of arguments only, no two alike but for their case. What a server goes by, the signatures in the
SavedModel's protocol buffer, may have any. So functions get names of their own, and the signatures the true ones afterwards.
"""

import itertools
import keyword
import pathlib
import re
from collections.abc import Iterable, Mapping

from tensorflow.core.protobuf import saved_model_pb2


def arguments(names: Iterable[str]) -> dict[str, str]:
    """For each name one that a function takes, the same if it can be: `bill length (mm)` becomes `bill_length_mm`."""
    found, taken = {}, {"self"}
    for name in names:
        base = name if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) else re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
        if not base[:1].isalpha() or keyword.iskeyword(base):
            base = f"column_{base}".rstrip("_")
        choices = itertools.chain([base], (f"{base}_{number}" for number in itertools.count(2)))
        argument = next(choice for choice in choices if choice.lower() not in taken)
        taken.add(argument.lower())
        found[name] = argument
    return found


def restore(path: pathlib.Path, saved_as: Mapping[str, Mapping[str, str]], methods: Mapping[str, str]) -> None:
    """Gives the signatures of a SavedModel the names of their inputs and outputs, and of TensorFlow Serving's methods.

    Args:
        saved_as: by signature and name, the name under which it was saved.
        methods: by signature, where it is not for Predict.
    """
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for signature, names in saved_as.items():
        definition = saved.meta_graphs[0].signature_def[signature]
        for tensors in (definition.inputs, definition.outputs):
            infos = {name: tensors[key].SerializeToString() for name, key in names.items() if key in tensors}
            tensors.clear()
            for name, info in infos.items():
                tensors[name].ParseFromString(info)
    for signature, method in methods.items():
        saved.meta_graphs[0].signature_def[signature].method_name = method
    file.write_bytes(saved.SerializeToString())
    (path / "fingerprint.pb").unlink(missing_ok=True)  # of the signatures before
