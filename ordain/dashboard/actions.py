"""What the dashboard can change, if it may: promote, roll back, give or drop a canary.

The change itself is `ordain.serving.registry.labels`', as for `ordain models`: one rename under a
lock, with who and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.serving.registry.label_file import this_user
from ordain.serving.registry.labels import (
    CANARY,
    Labels,
    drop_canary,
    promote,
    read_labels,
    rollback,
    set_canary,
)

#: Longest reason that is kept.
MAX_WHY_CHARS = 500


@dataclass(frozen=True)
class Action:
    """A change that may be asked for.

    Attributes:
        name: The last part of its address.
        title: The button, before the version.
        consequence: What it does, for the page that asks whether it is meant.
        has_share: Whether it takes a share of the requests.
    """

    name: str
    title: str
    consequence: str
    has_share: bool = False


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "promote",
            "Promote",
            "It becomes stable: requests that name no version are answered by it. The next push "
            "may move the label on.",
        ),
        Action(
            "rollback",
            "Roll back to",
            "It becomes stable, and stays it: no push moves the label until somebody promotes.",
        ),
        Action(
            "canary",
            "Make canary",
            "It gets the label canary, and a share of the requests that name no version.",
            has_share=True,
        ),
        Action(
            "drop-canary",
            "Drop canary",
            "It loses the label canary and its share; the version itself stays.",
        ),
    )
}


def offered(version: int, labels: Labels) -> list[Action]:
    """The changes that make sense for a version."""
    if version == labels.stable:
        return [ACTIONS["promote"]] if labels.pinned else []
    if labels.canary is not None and labels.canary.version == version:
        return [ACTIONS["promote"], ACTIONS["drop-canary"]]
    is_older = labels.stable is not None and version < labels.stable
    return [ACTIONS["rollback" if is_older else "promote"], ACTIONS["canary"]]


def carry_out(project: Project, action: Action, version: int, form: Mapping[str, str]) -> str:
    """Makes a change.

    Args:
        project: The project.
        action: Which change.
        version: The version it is about.
        form: `why`, and `share` in per cent where the change takes one.

    Returns:
        What is so now, in a sentence.

    Raises:
        ConfigError: The reason is missing, the share is none, or the version is not there.
        InfrastructureError: The version is not whole, or the labels cannot be written.
    """
    why = " ".join(form.get("why", "").split())
    if not why or len(why) > MAX_WHY_CHARS:
        raise ConfigError(
            f"a reason of 1 to {MAX_WHY_CHARS} characters is asked for, not {len(why)}",
            "say why: whoever looks next month will ask",
        )
    base, trust, who = project.serving, project.trust, f"{this_user()} (dashboard)"
    if action.name == "promote":
        promote(base, version, who, why, trust)
        return f"Version {version} is stable."
    if action.name == "rollback":
        rollback(base, who, why, version, trust)
        return f"Version {version} is stable, and pinned there."
    if action.name == "drop-canary":
        if read_labels(base, trust).version_of(CANARY) != version:
            raise ConfigError(f"version {version} is not the canary any more")
        drop_canary(base, who, why, trust)
        return "There is no canary any more."
    share = _share(form.get("share", ""))
    set_canary(base, version, share, who, why, trust)
    return f"Version {version} gets {share:.0%} of the requests."


def _share(text: str) -> float:
    try:
        per_cent = float(text[:20])
    except ValueError:
        per_cent = 0.0
    if not 0 < per_cent < 100:
        raise ConfigError(f"a canary's share is above 0 and below 100 per cent, not {text[:20]!r}")
    return per_cent / 100
