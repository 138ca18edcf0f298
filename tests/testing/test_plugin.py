"""The fixtures: a temporary workspace, and a real S3 server; in a run of pytest of its own, with xdist too."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

PIPELINE = """
    import os
    import luigi, pytest
    import kartnb

    class Numbers(kartnb.TaskOnKart[list]):
        count = luigi.IntParameter(default=3)

        def run(self):
            self.dump(list(range(self.count)))

    class Own(Numbers):
        workspace_directory = luigi.Parameter(default='own', significant=False)

    class Below(Own):
        pass

    MADE_BEFORE = Numbers(count=2)
    OWN = Own(), Below()
    ELSEWHERE = Numbers(count=2, workspace_directory='elsewhere')

    class Total(kartnb.TaskOnKart[int]):
        numbers = kartnb.TaskInstanceParameter(default=Numbers())

        def run(self):
            more = yield Numbers(count=4)
            self.dump(sum(self.load('numbers')) + sum(more.load()))
"""
WORKSPACE = (
    PIPELINE
    + """
    @pytest.mark.parametrize('options', [{}, {'workers': 2}])
    @pytest.mark.parametrize('number', range(3))
    def test_in_its_own(kart_workspace, options, number):
        assert not list(kart_workspace.iterdir())
        assert kartnb.build(Total(), **options) == 9
        assert kartnb.build(MADE_BEFORE, **options) == [0, 1]
        assert len(list(kart_workspace.rglob('Numbers_*~r*.json'))) == 3
        assert len(list(kart_workspace.rglob('Total_*.pkl'))) > 1
        assert not os.path.exists('resources')

    def test_a_workspace_of_its_own_stays(kart_workspace):
        assert ELSEWHERE.output().path().startswith('elsewhere/')

    def test_a_default_of_its_own_holds_for_all_its_tasks(kart_workspace):
        places = {task.workspace_directory for task in (*OWN, Own(), Below(), Own(count=5))}
        assert places == {OWN_PLACE or str(kart_workspace)}

    def test_what_a_test_adds_to_the_configuration(kart_workspace):
        name = 'more.toml' if os.environ.get('LUIGI_CONFIG_PARSER') == 'toml' else 'more.cfg'
        with open(name, 'w') as file:
            file.write('[Numbers]\\ncount = 7\\n[DEFAULT]\\nx = 1\\n')
        kartnb.add_config(name)
        assert Numbers().count == 7

    def test_restored():
        assert Numbers().count == 3
        luigi.configuration.get_config().reload()
        assert Numbers().count == 3
        assert Numbers().workspace_directory == MADE_BEFORE.workspace_directory == USUAL_PLACE
        assert Total().numbers.output().path().startswith(USUAL_PLACE)
        assert Total().local_temporary_directory == './resources/tmp/'
"""
)


@pytest.mark.parametrize('arguments', [[], ['-n', '2']], ids=str)
def test_a_workspace_for_each_test(pytester: pytest.Pytester, arguments: list[str]) -> None:
    pytester.makeconftest("pytest_plugins = ['kartnb.testing.plugin']")
    pytester.makepyfile(WORKSPACE.replace('USUAL_PLACE', repr('./resources/')).replace('OWN_PLACE', repr('own')))
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=10)
    assert not Path('elsewhere').exists()


@pytest.mark.parametrize(
    'name, text, parser',
    [
        ('luigi.cfg', '[TaskOnKart]\nworkspace_directory = ./a%%b\n[core]\nx = 1\n', 'cfg'),
        ('luigi.toml', '[TaskOnKart]\nworkspace_directory = "./a%b"\n', 'toml'),
    ],
)
def test_the_configuration_is_restored(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, text: str, parser: str
) -> None:
    Path(name).write_text(text)
    monkeypatch.setenv('LUIGI_CONFIG_PARSER', parser)
    monkeypatch.setenv('LUIGI_CONFIG_PATH', os.path.abspath(name))
    pytester.makepyfile(WORKSPACE.replace('USUAL_PLACE', repr('./a%b')).replace('OWN_PLACE', 'None'))
    pytester.runpytest_subprocess('-p', 'kartnb.testing.plugin').assert_outcomes(passed=10)


def test_pytest_alone_does_not_import_kartnb(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_modules():
            assert not {'kartnb', 'luigi'} & set(sys.modules)
    """)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


S3 = (
    PIPELINE
    + """
    import boto3

    @pytest.mark.parametrize('options', [{}, {'workers': 2}])
    def test_on_s3(kart_s3, options):
        client = boto3.client('s3')
        assert 'Contents' not in client.list_objects_v2(Bucket=kart_s3[5:])
        task = Total(workspace_directory=kart_s3, numbers=Numbers(workspace_directory=f'{kart_s3}/below'))
        with kartnb.testing.plugin.temporary_workspace(kart_s3):
            assert kartnb.build(task, **options) == 9
        keys = [found['Key'] for found in client.list_objects_v2(Bucket=kart_s3[5:])['Contents']]
        assert [key for key in keys if key.startswith('below/') and key.endswith('.pkl') and 'Numbers_' in key]
        assert not os.path.exists('resources')

    def test_restored():
        assert 'AWS_ENDPOINT_URL' not in os.environ
"""
)


def test_a_bucket_for_each_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('AWS_ENDPOINT_URL', 'AWS_ACCESS_KEY_ID'):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(S3)
    pytester.runpytest_subprocess('-p', 'kartnb.testing.plugin').assert_outcomes(passed=3)


def test_what_kart_s3_needs_is_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys
        sys.modules['moto.server'] = None

        def test_it(kart_s3):
            pass
    """)
    done = pytester.runpytest_subprocess('-p', 'kartnb.testing.plugin')
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*The fixture kart_s3 needs moto.server: pip install 'kartnb?testing?'.*"])


def test_the_examples_of_the_page_run(pytester: pytest.Pytester, repository: Path) -> None:
    page = (repository / 'docs' / 'testing.md').read_text()
    conftest, *tests = re.findall(r'```py\n(.*?)```', page, re.DOTALL)
    assert len(tests) == 2
    pytester.makeconftest(conftest)
    pytester.makepyfile('\n'.join([textwrap.dedent(PIPELINE), 'import boto3', *tests]))
    pytester.runpytest_subprocess().assert_outcomes(passed=2)
