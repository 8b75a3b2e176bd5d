"""Batch jobs on Apache Beam (extra `beam`): any verb of a model over files of any number and size."""

import logging

logging.disable(logging.WARNING)  # Beam warns of clients for Google's cloud that are not installed
try:
    import apache_beam  # noqa: F401
finally:
    logging.disable(logging.NOTSET)
