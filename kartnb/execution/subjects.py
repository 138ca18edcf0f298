"""What can be asked about: a task, a plan, a build that runs or has ended."""

from __future__ import annotations

from typing import TypeAlias

import luigi

from kartnb.errors import TaskArgumentError
from kartnb.execution.background import BackgroundBuild
from kartnb.execution.build_error import GokartBuildError
from kartnb.execution.planning.plan import Plan
from kartnb.execution.report import BuildReport
from kartnb.planning.planner import plan

Subject: TypeAlias = luigi.Task | Plan | BackgroundBuild | BuildReport | GokartBuildError


def plan_of(subject: Subject) -> Plan:
    """The plan of a task, or the one that a build has followed.

    Raises
    ------
    TaskArgumentError
        When it is none of these.
    """
    if isinstance(subject, Plan):
        return subject
    if isinstance(subject, BackgroundBuild | BuildReport):
        return subject.plan
    if isinstance(subject, GokartBuildError) and subject.report is not None:
        return subject.report.plan
    if isinstance(subject, luigi.Task | type):
        return plan(subject)  # a class is refused there, with what to write instead
    raise TaskArgumentError(
        f'A task, a plan, or a build (background handle, report or error) is needed, not {type(subject).__name__}.'
    )


def build_id_of(subject: object) -> str:
    """The id of a build, or '' for what is none."""
    if isinstance(subject, GokartBuildError):
        return '' if subject.report is None else subject.report.build_id
    return subject.build_id if isinstance(subject, BackgroundBuild | BuildReport) else ''
