"""Export: trained models written as SavedModels; the only floor that imports the zoo."""

from serving.export.originals import load
from serving.export.saved_models import export, export_run

__all__ = ["export", "export_run", "load"]
