"""Serving: export to SavedModels, the embedded server and its client.

What this package exports needs neither TensorFlow nor Keras; `serving.export` needs both, and the server TensorFlow.
`serving.models` runs models, `serving.rest` and `serving.rpc` answer over HTTP and gRPC, and `serving.server` starts them.
"""

import importlib

_MODULES = {"Client": "client", "Server": "process", "ServerError": "client"}

__all__ = [*_MODULES]


def __getattr__(name: str) -> type:
    """Imports a public name on first use: most commands need no client, and NumPy and HTTPX take longer than their help."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
