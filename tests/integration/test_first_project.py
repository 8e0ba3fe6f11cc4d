"""docs/first-project.md, followed to the letter."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PAGE = (Path(__file__).parents[2] / "docs" / "first-project.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The folder that the page's commands run in; the project of steps 1 to 5 is beside it."""
    folder = tmp_path_factory.mktemp("page") / "ordain"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "ordain"):
        (folder / ".venv" / "bin" / name).symlink_to(Path(sys.executable).parent / name)
    script = re.search(r"python - <<'END'\n(.*?)END\n", PAGE, re.DOTALL)[1]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=folder)
    project = folder.parent / "iris"
    (project / "pipeline.yaml").write_text(blocks("yaml")[0])
    (project / "model.py").write_text("\n\n".join(blocks("python")))
    return folder


def follow(checkout: Path, command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ordain.cli.main", *shlex.split(command)[1:]],
        capture_output=True,
        text=True,
        cwd=checkout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_step_does_what_the_page_says(checkout):
    shown = re.search(r"\$ (\.venv/bin/ordain plan \.\./iris)\n(.*?)```", PAGE, re.DOTALL)
    planned = follow(checkout, shown[1]).replace(str(checkout.parent), "/home/ada")
    of_machine = re.compile(r"[\d.]+ of [\d.]+ GB are free")
    assert of_machine.sub("", planned) == of_machine.sub("", shown[2])
    assert yaml.safe_load(blocks("yaml")[0])["name"] == "iris"
    printed = follow(checkout, ".venv/bin/ordain run ../iris")
    gates = re.findall(r"^(\w+) gate: (\w+)$", printed, re.MULTILINE)
    assert [gate for gate, _ in gates] == ["data", "evaluation", "server"]
    assert "is version 1, stable" in printed
    assert "sparse_categorical_accuracy" in follow(checkout, ".venv/bin/ordain runs show ../iris")
    follow(checkout, ".venv/bin/ordain runs logs ../iris --node Trainer")
    frozen = follow(checkout, ".venv/bin/ordain schema freeze ../iris")
    assert "schema.pbtxt: read it, correct it, commit it" in frozen
