"""What helps to test tasks: a pipeline on empty data frames, equal data frames."""

from kartnb.testing.frames import assert_frame_contents_equal, test_run, try_to_run_test_for_empty_data_frame

__all__ = ['assert_frame_contents_equal', 'test_run', 'try_to_run_test_for_empty_data_frame']
