"""A workspace that cannot be written or read, or that goes away: one clear sentence, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: `said` prints the sentence that an action ends with; each run of a task leaves its number in the file 'runs'.
BEGINNING = """
import os
import kartnb
from pathlib import Path

class Small(kartnb.TaskOnKart):
    n = kartnb.luigi.IntParameter(default=1)

    def run(self):
        with open('runs', 'a') as file:
            file.write(f'{self.n} ')
        self.dump(self.n or 1 / 0)

class Large(kartnb.TaskOnKart):
    def requires(self):
        return Small(n=2)

    def run(self):
        during()
        self.dump('x' * 1_000_000 + str(self.load()))

def during():
    pass

def said(act):
    try:
        act()
    except (kartnb.GokartBuildError, OSError) as error:
        print(' '.join(str(error).split()), flush=True)
    else:
        print('nothing', flush=True)
"""


def told(script: str, before: str = '') -> list[str]:
    """What a script prints; the shell command `before` may mount disks for it."""
    Path('script.py').write_text(BEGINNING + script)
    command = ['unshare', '-Urm', 'sh', '-c', f'{before} && {sys.executable} script.py'] if before else None
    done = subprocess.run(
        command or [sys.executable, 'script.py'],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


needs_mounts = pytest.mark.skipif(
    shutil.which('unshare') is None or subprocess.run(['unshare', '-Urm', 'true'], capture_output=True).returncode != 0,
    reason='platform: no small disk can be mounted',
)


@pytest.mark.skipif(os.name == 'nt', reason='platform: permissions are other ones')
@pytest.mark.parametrize(
    'place, mode, shown',
    [
        ('log/run_record/__main__', 0o000, 'd---------'),
        ('log/run_record', 0o600, 'drw-------'),
        ('log/run_record/__main__', 0o555, 'dr-xr-xr-x'),
        ('__main__', 0o500, 'dr-x------'),
    ],
)
def test_a_wrong_mode(place: str, mode: int, shown: str) -> None:
    os.chmod('.', 0o777)
    script = f"""
assert kartnb.build(Small()) == 1
said(lambda: kartnb.build(Small(n=0)))  # all is imported, which root alone may be allowed to do
if os.geteuid() == 0:
    for path in Path.cwd().rglob('*'):
        os.chown(path, 65534, 65534)
    os.setuid(65534)  # permissions do not hold for root
os.chmod('resources/{place}', {mode})
said(lambda: kartnb.build(Small(n=3)))
os.chmod('resources/{place}', 0o755)
assert [kartnb.build(Small()), kartnb.build(Small(n=3))] == [1, 3]
print(Path('runs').read_text())
"""
    _, sentence, runs = told(script)
    assert 'permission is denied: ' in sentence
    assert f'resources/{place} has the mode {shown}, so run chmod u+rwX' in sentence
    assert 'what is there is kept' in sentence
    assert 'move' not in sentence
    assert 'choose another' not in sentence
    assert runs.split()[0] == '1'
    assert '1' not in runs.split()[1:]


@needs_mounts
def test_a_full_disk() -> None:
    os.mkdir('resources')
    script = """
said(lambda: kartnb.build(Large()))
print(Path('runs').read_text())
os.system('mount -o remount,size=64m resources')
print(len(kartnb.build(Large())), Path('runs').read_text())
"""
    sentence, runs, again = told(script, 'mount -t tmpfs -o size=600k tmpfs resources')
    assert 'the disk is full: free some space and build again; what is there is kept' in sentence
    assert runs.split() == ['2']
    assert again.split() == ['1000001', '2']


@needs_mounts
def test_a_disk_that_becomes_read_only() -> None:
    os.mkdir('resources')
    script = """
assert kartnb.build(Small()) == 1
os.system('mount -o remount,ro resources')
assert kartnb.build(Small()) == 1
said(lambda: kartnb.build(Large()))
os.system('mount -o remount,rw resources')
assert len(kartnb.build(Large())) == 1_000_001
print(Path('runs').read_text())
"""
    sentence, runs = told(script, 'mount -t tmpfs tmpfs resources')
    assert 'the disk is read-only: mount it for writing and build again; what is there is kept' in sentence
    assert runs.split()[0] == '1'
    assert '1' not in runs.split()[1:]


@pytest.mark.parametrize('how', ['os.rename("resources", "elsewhere")', 'shutil.rmtree("resources")'])
def test_a_workspace_that_goes_away_during_a_build(how: str) -> None:
    script = f"""
import shutil
def during():
    if not os.path.exists('gone'):
        os.mkdir('gone')
        {how}
said(lambda: kartnb.build(Large()))
assert len(kartnb.build(Large())) == 1_000_001
if os.path.exists('elsewhere'):
    workspace = {{'workspace_directory': './elsewhere'}}
    assert kartnb.build(Small(n=2, **workspace)) == 2
print(Path('runs').read_text())
"""
    sentence, runs = told(script)
    assert 'does not exist' in sentence
    assert runs.split() == ['2', '2']
