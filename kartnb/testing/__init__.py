"""What helps to test tasks: one task on given values, a pipeline on empty data frames, equal data frames."""

from kartnb.testing.frames import assert_frame_contents_equal, test_run, try_to_run_test_for_empty_data_frame
from kartnb.testing.one_task import run_task

__all__ = ['assert_frame_contents_equal', 'run_task', 'test_run', 'try_to_run_test_for_empty_data_frame']
