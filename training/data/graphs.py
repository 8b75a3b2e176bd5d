"""Functions of pipelines become graphs as they are written, and arrays tensors without a copy."""

import numpy as np
import tensorflow as tf

ALIGNED = 64  # bytes, to multiples of which TensorFlow's kernels want the addresses of tensors

# AutoGraph takes long at first: it looks through all modules for the code of a function, and loads those that were postponed
as_written = tf.autograph.experimental.do_not_convert


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array, whose memory a tensor may have too."""
    size = int(np.prod(shape, dtype="int64")) * dtype.itemsize
    room = np.empty(size + ALIGNED, "uint8")
    start = -room.ctypes.data % ALIGNED
    return room[start : start + size].view(dtype).reshape(shape)


def tensor(array: np.ndarray) -> tf.Tensor:
    """The values of an array that does not change any more: its own memory, where `empty` made it, and otherwise a copy."""
    shared = array.flags.c_contiguous and array.flags.writeable and array.size and array.ctypes.data % ALIGNED == 0
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__()) if shared else tf.constant(array)
