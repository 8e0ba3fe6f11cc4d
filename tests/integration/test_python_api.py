"""The page for notebooks, run as a notebook, and a project beside modules of the same names."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import bootstrap
import nbclient
import nbformat
import pytest
from sandbox import PROJECTS, good_rows, write_csv

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
#: What a user adds to the page: a table of rows instead of a list.
FRAME = """
import pandas
frame = pandas.DataFrame(models.stable.example * 3, index=[7, 8, 9])
scored = ordain.predict(project, frame)
print(type(scored).__name__, list(scored.index), set(scored.columns) - set(frame.columns))
"""
WRONG = """
for wrong in (
    {"version": 99},
    {"signature": "nope"},
    {"version": 1, "label": "stable"},
    {"rows": frame.drop(columns="x")},
):
    try:
        ordain.predict(project, **{"rows": frame} | wrong)
    except ordain.OrdainError as error:
        print(error)
print(len(ordain.predict(project, frame[:0])), ordain.predict(project, []))
"""


def tiny_project(folder: Path) -> Path:
    shutil.copytree(PROJECTS / "small", folder)
    for span in (1, 2):
        write_csv(folder / "data" / str(span) / "rows.csv", good_rows(), ["x", "c", "y"])
    return folder


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The page's cells after they ran in one kernel, by their source."""
    folder = tmp_path_factory.mktemp("notebook")
    tiny_project(folder / "examples" / "flights")
    sources = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in (*sources, FRAME, WRONG)]
    nbclient.NotebookClient(
        notebook, timeout=550, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook.cells


def shown(cells, source: str) -> tuple[str, str]:
    """Output of the first cell with this ending, and its value as HTML."""
    cell = next(cell for cell in cells if cell.source.strip().endswith(source))
    printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
    values = [o.data for o in cell.outputs if o.output_type == "execute_result"]
    return printed, "".join(value.get("text/html", value["text/plain"]) for value in values)


def test_results_show_as_tables_and_the_report_opens_inline(cells):
    _, plan = shown(cells, "ordain.plan(project)")
    assert "<td>Trainer</td>" in plan and "steps" in plan
    printed, result = shown(cells, "result")
    assert re.search(r"^Trainer +complete +[\d.]+ s", printed, re.MULTILINE)
    assert "the model passed every gate and is version 1, stable" in printed
    assert "<td>Trainer</td>" in result and "version 1" in result
    printed, _ = shown(cells, 'print("  ", reason.text)')
    assert "evaluation passed" in printed
    _, report = shown(cells, "ordain.report(project)")
    assert report.startswith("<iframe srcdoc=") and "sandbox" in report and "<script" not in report
    assert "('', 'auc')" in shown(cells, "runs[0].metrics")[1]
    _, models = shown(cells, "models")
    assert "<td>stable</td>" in models
    assert shown(cells, "manifest.spans")[1] == "(1, 2)"


def test_rows_come_back_in_the_form_they_came_in(cells):
    _, listed = shown(cells, "ordain.predict(project, models.stable.example)")
    assert listed.startswith("[{") and "outputs" in listed
    printed, _ = shown(cells, FRAME.strip().splitlines()[-1])
    assert printed.strip() == "DataFrame [7, 8, 9] {'outputs'}"
    printed, _ = shown(cells, WRONG.strip().splitlines()[-1])
    assert "there is no version 99 in" in printed and "versions there: 1" in printed
    assert "version 1: " in printed and "nope" in printed
    assert "label and version cannot be given together" in printed
    assert "'x'" in printed and printed.endswith("0 []\n")


NAMES = ("pipeline", "components", "serving", "reports", "contracts", "kubeflow", "data", "tests")


def test_a_project_may_hold_modules_of_our_rooms_names(tmp_path):
    folder = tiny_project(tmp_path / "small")
    for name in NAMES:
        (folder / f"{name}.py" if name != "data" else folder / "data" / "__init__.py").write_text(
            f"VALUE = {name!r}\n"
        )
    imports = "".join(f"import {name}\nassert {name}.VALUE == {name!r}\n" for name in NAMES)
    model = folder / "model.py"
    model.write_text(model.read_text().replace("import keras\n", f"import keras\n{imports}", 1))
    for command in ("plan", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "ordain.cli.main", command, str(folder)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "var" / "serving" / "small" / "1").is_dir()


def test_the_kubeflow_sdk_may_be_installed_beside_it(tmp_path):
    """PyPI's `kubeflow` has a top-level package of the name that was ours once."""
    pip = bootstrap.find_pip()
    variables = bootstrap.index_environment(bootstrap.run(*pip, "config", "list"))
    uv = bootstrap.PRIVATE / "bin" / "uv"
    install = [uv, "pip", "install", "--no-deps", "--target", tmp_path, "--python", sys.executable]
    bootstrap.run(*install, "kubeflow==0.5.0", variables=variables)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import kubeflow, ordain, ordain.kubeflow.compiler\n"
        "print(kubeflow.__file__, ordain.kubeflow.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    theirs, ours = done.stdout.split()
    assert Path(theirs).parent == tmp_path / "kubeflow"
    assert Path(ours).parent.parent.name == "ordain"
