"""The contract between the compiled file and the pod: names of tasks, parameters and arguments.

`kubeflow.compile` writes these command lines, `kubeflow.entrypoint` reads them. Nothing here
imports KFP, TFX or TensorFlow.
"""

from __future__ import annotations

#: Module that every container runs, with the task's kind as its first argument.
ENTRYPOINT = ("python", "-m", "kubeflow.entrypoint")
#: Tasks that are not nodes of the chain: before all of them, and after.
PREPARE = "prepare"
RESULT = "result"
