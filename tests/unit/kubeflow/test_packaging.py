"""`kubeflow` is part of what is installed, and leaves room for other packages of that name."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_installed_beside_another_distributions_modules(tmp_path):
    source, built, other = tmp_path / "source", tmp_path / "built", tmp_path / "other"
    for package in ("ordain", "kubeflow", "pipeline", "components", "serving", "contracts"):
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "setup.py", source)
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(built)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    assert (built / "kubeflow" / "entrypoint.py").is_file()
    assert not (built / "kubeflow" / "__init__.py").exists()

    (other / "kubeflow" / "trainer").mkdir(parents=True)
    (other / "kubeflow" / "trainer" / "__init__.py").write_text("NAME = 'theirs'\n")
    for order in ([built, other], [other, built]):
        code = (
            f"import sys; sys.path[:0] = {[str(path) for path in order]!r}\n"
            "import kubeflow.tasks, kubeflow.trainer\n"
            "print(kubeflow.tasks.__file__, kubeflow.trainer.NAME)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        assert done.stdout.split() == [str(built / "kubeflow" / "tasks.py"), "theirs"]
