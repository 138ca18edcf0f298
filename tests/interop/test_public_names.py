"""The names of `kartnb`, beside those of gokart."""

from __future__ import annotations

import types

import gokart
import pytest

import kartnb


def test_of_gokarts_names_each_is_there_or_says_what_there_is_instead() -> None:
    absent = {}
    for name in {
        *gokart.__all__,
        *(name for name, value in vars(gokart).items() if isinstance(value, types.ModuleType)),
    }:
        if not name.startswith('_') and not hasattr(kartnb, name):
            with pytest.raises(AttributeError) as caught:
                getattr(kartnb, name)
            absent[name] = str(caught.value)
    silent = {name for name, message in absent.items() if 'gokart' not in message}
    # parts of gokart's own works, which no user names
    assert silent <= {
        'conflict_prevention_lock',
        'gcs_config',
        'gcs_obj_metadata_client',
        'object_storage',
        'required_task_output',
        'task_complete_check',
        'zip_client_util',
    }
    assert 'kartnb.plan(task)' in absent['make_task_info_as_tree_str']


def test_a_name_that_is_mistyped_is_guessed() -> None:
    with pytest.raises(AttributeError, match="'bild': did you mean 'build'"):
        getattr(kartnb, 'bi' + 'ld')
    assert not hasattr(kartnb, '__wrapped__')
