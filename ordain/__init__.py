"""An end-to-end TFX pipeline: raw data in, a model that passed every gate out.

The public names are those of `__all__`; each is imported when it is first used, so that
`import ordain` costs next to nothing. Everything else in the package may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ordain.api.models import Models, ModelVersion, models, predict
    from ordain.api.project import RunPlan, load_project, plan, run
    from ordain.api.runs import PastRun, Report, Runs, report, runs
    from ordain.components.artifacts.types import GateVerdict
    from ordain.config.project import Project
    from ordain.errors import ConfigError, DataBlockedError, InfrastructureError, OrdainError
    from ordain.history.results import RunResult
    from ordain.serving.export.signatures import export_model
    from ordain.verdict import Reason, Verdict

#: Where each public name is defined. Vertex AI's containers import `ordain.GateVerdict` by name.
_NAMES = {
    "ordain.api.models": ("ModelVersion", "Models", "models", "predict"),
    "ordain.api.project": ("RunPlan", "load_project", "plan", "run"),
    "ordain.api.runs": ("PastRun", "Report", "Runs", "report", "runs"),
    "ordain.components.artifacts.types": ("GateVerdict",),
    "ordain.config.project": ("Project",),
    "ordain.errors": ("ConfigError", "DataBlockedError", "InfrastructureError", "OrdainError"),
    "ordain.history.results": ("RunResult",),
    "ordain.serving.export.signatures": ("export_model",),
    "ordain.verdict": ("Reason", "Verdict"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "ConfigError",
    "DataBlockedError",
    "GateVerdict",
    "InfrastructureError",
    "ModelVersion",
    "Models",
    "OrdainError",
    "PastRun",
    "Project",
    "Reason",
    "Report",
    "RunPlan",
    "RunResult",
    "Runs",
    "Verdict",
    "export_model",
    "load_project",
    "models",
    "plan",
    "predict",
    "report",
    "run",
    "runs",
]


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
