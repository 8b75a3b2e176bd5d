"""Adam's update as TensorFlow's own operation, which passes over the weights once."""

import functools
from typing import Any

import keras
import tensorflow as tf


def fuse(optimizer: keras.optimizers.Optimizer) -> None:
    """Lets an Adam update weights by one operation of the TensorFlow backend; others stay as they are.

    Keras computes the same formula (Kingma and Ba, 2015, at the end of section 2) by a dozen operations, each of which goes
    through the memory of all weights. XLA fuses those by itself. The optimizer's class, configuration and variables stay.
    """
    if isinstance(optimizer, keras.optimizers.Adam) and not optimizer.amsgrad:
        optimizer.update_step = functools.partial(_update, optimizer)


def _update(optimizer: keras.optimizers.Adam, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
    index = optimizer._get_variable_index(variable)
    step = tf.cast(optimizer.iterations + 1, variable.dtype)
    beta_1, beta_2 = (tf.constant(beta, variable.dtype) for beta in (optimizer.beta_1, optimizer.beta_2))
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=tf.pow(beta_1, step),
        beta2_power=tf.pow(beta_2, step),
        lr=tf.cast(learning_rate, variable.dtype),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=tf.constant(optimizer.epsilon, variable.dtype),
        grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
    )
