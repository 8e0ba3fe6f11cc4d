"""Label changes of the dashboard: promote, roll back, set or drop a canary.

`ordain.serving.registry.labels` makes the change, as for `ordain models`: one atomic rename under
a lock that records who made it and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.serving.registry.label_file import CANARY, Labels, read_labels
from ordain.serving.registry.label_writing import this_user
from ordain.serving.registry.labels import drop_canary, promote, rollback, set_canary

#: Maximum length of a reason.
MAX_WHY_CHARS = 500


@dataclass(frozen=True)
class Action:
    """A label change.

    Attributes:
        name: Last part of its URL.
        title: Text of the button, followed by the version.
        consequence: Its effect, shown on the confirmation page.
        done: The new state, shown afterwards.
        has_share: True if it takes a share of the requests.
    """

    name: str
    title: str
    consequence: str
    done: str
    has_share: bool = False


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "promote",
            "Promote",
            "It becomes stable and answers requests that name no version. The next push may move "
            "the label to a newer version.",
            "The version is stable now.",
        ),
        Action(
            "rollback",
            "Roll back to",
            "It becomes stable and is pinned: no push moves the label until the next promotion.",
            "The version is stable now, and pinned there.",
        ),
        Action(
            "canary",
            "Make canary",
            "It gets the label canary, and a share of the requests that name no version.",
            "The version is the canary now.",
            has_share=True,
        ),
        Action(
            "drop-canary",
            "Drop canary",
            "It loses the label canary and its share of requests; the version itself stays.",
            "There is no canary now.",
        ),
    )
}


def offered(version: int, labels: Labels) -> list[Action]:
    """Changes that apply to a version, given its labels."""
    if version == labels.stable:
        return [ACTIONS["promote"]] if labels.pinned else []
    if labels.canary is not None and labels.canary.version == version:
        return [ACTIONS["promote"], ACTIONS["drop-canary"]]
    is_older = labels.stable is not None and version < labels.stable
    return [ACTIONS["rollback" if is_older else "promote"], ACTIONS["canary"]]


def carry_out(project: Project, action: Action, version: int, form: Mapping[str, str]) -> None:
    """Make a change.

    Args:
        project: The project.
        action: The change.
        version: The version to change.
        form: `why`, and `share` in per cent if the change takes one.

    Raises:
        ConfigError: The reason is missing, the share is invalid, or the version does not exist.
        InfrastructureError: The version fails verification, or the labels cannot be written.
    """
    why = " ".join(form.get("why", "").split())
    if not why or len(why) > MAX_WHY_CHARS:
        raise ConfigError(
            f"the reason has {len(why)} characters; 1 to {MAX_WHY_CHARS} are allowed",
            "enter why you make the change; it is recorded with the label",
        )
    base, trust, who = project.serving, project.trust, f"{this_user()} (dashboard)"
    if action.name == "promote":
        promote(base, version, who, why, trust)
    elif action.name == "rollback":
        rollback(base, who, why, version, trust)
    elif action.name == "canary":
        set_canary(base, version, _share(form.get("share", "")), who, why, trust)
    else:
        if read_labels(base, trust).version_of(CANARY) != version:
            raise ConfigError(f"version {version} is no longer the canary")
        drop_canary(base, who, why, trust)


def _share(text: str) -> float:
    try:
        per_cent = float(text[:20])
    except ValueError:
        per_cent = 0.0
    if not 0 < per_cent < 100:
        raise ConfigError(
            f"share: {text[:20]!r}; a number above 0 and below 100 (per cent) is required"
        )
    return per_cent / 100
