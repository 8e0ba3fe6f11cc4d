"""What is installed: one package, with everything that it reads."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_one_name_is_installed_with_all_that_belongs_to_it(tmp_path):
    source, built = tmp_path / "source", tmp_path / "built"
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("ordain", "pipeline", "components", "kubeflow"):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "setup.py", source)
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(built)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    assert [path.name for path in built.iterdir()] == ["ordain"]
    wanted = {
        str(path.relative_to(ROOT))
        for folder in ("ordain", *(f"ordain/{name}" for name in ("pipeline", "components")))
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in {".py", ".json", ".html", ".css", ".js"}
    }
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "ordain/kubeflow").rglob("*.py")}
    assert wanted - {str(p.relative_to(built)) for p in built.rglob("*.*")} == set()
