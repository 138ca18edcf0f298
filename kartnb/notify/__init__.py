"""Telling people how a build ended: functions for `kartnb.build(task, notify=…)`, which are given its report."""
