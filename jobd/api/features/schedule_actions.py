"""The actions on periodic jobs: their lines in the table of actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jobd.api.actions import Action, Given
from jobd.api.features.periodic import PeriodicJob, PeriodicJobs
from jobd.api.roles import Role
from jobd.text.translatable import Text

ScheduleDo = Callable[[PeriodicJobs, PeriodicJob, Given], str | bool]
"""Returns whether there was anything to do; ``run`` returns the id of the job that was pushed."""


SCHEDULE_ACTIONS: Mapping[str, Action[ScheduleDo]] = {
    "run": Action(
        name="run",
        button=Text("Run now"),
        summary=Text("Push its job now, beside its ticks."),
        role=Role.OPERATOR,
        done=lambda _, name: Text("Pushed a job of %(name)s.", name=name),
        do=lambda jobs, one, _: jobs.run(one),
    ),
    "pause": Action(
        name="pause",
        button=Text("Pause"),
        summary=Text("Push no more of its ticks."),
        role=Role.OPERATOR,
        done=lambda _, name: Text("Periodic job %(name)s is paused.", name=name),
        do=lambda jobs, one, _: jobs.pause(one),
    ),
    "resume": Action(
        name="resume",
        button=Text("Resume"),
        summary=Text("Push its ticks again, from now on."),
        role=Role.OPERATOR,
        done=lambda _, name: Text("Periodic job %(name)s goes on.", name=name),
        do=lambda jobs, one, _: jobs.resume(one),
    ),
    "set": Action(
        name="set",
        button=Text("Change"),
        summary=Text("Change when it is due, until the next deploy."),
        effect=Text("It is due by the new line from now on. The next deploy brings back its own."),
        role=Role.OPERATOR,
        form="line",
        done=lambda _, name: Text(
            "The line of %(name)s is changed until the next deploy.", name=name
        ),
        do=lambda jobs, one, given: jobs.change(one, given.line, tz=given.tz),
    ),
    "reset": Action(
        name="reset",
        button=Text("Reset"),
        summary=Text("Take back a change of its line."),
        role=Role.OPERATOR,
        done=lambda _, name: Text("%(name)s has its own line again.", name=name),
        do=lambda jobs, one, _: jobs.reset(one),
    ),
}
"""On a periodic job."""

UNCHANGED: Mapping[str, Text] = {
    "pause": Text("%(name)s was paused already"),
    "resume": Text("%(name)s is not paused"),
    "reset": Text("the line of %(name)s was not changed"),
}
"""The message of those that had been done before."""
