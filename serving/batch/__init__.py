"""Batch jobs on Apache Beam (extra `beam`): any verb of a model over files of any number and size."""

import logging

logging.disable(logging.WARNING)  # Beam warns of clients for Google's cloud that are not installed
try:
    import apache_beam  # noqa: F401
finally:
    logging.disable(logging.NOTSET)

from serving import quiet  # noqa: E402, F401 - before anything else imports TensorFlow, in every process of a job
