"""Kinds of change in files that a task reads, and in what lies outside code and files."""

from __future__ import annotations

from typing import Any

from tests.changes.kinds import Kind, cached, noticed, unseen


def _read(title: str, uses: str, name: str = 'data.txt', setup: str = '', **more: Any) -> Kind:
    """A text file has another number in it."""
    return noticed(
        title,
        {name: '1'},
        {name: '2'},
        uses,
        setup=setup,
        **{'because': f'{name.rpartition("/")[2]} changed', **more},
    )


def _made(title: str, cell: str, uses: str, setup: str, name: str, **more: Any) -> Kind:
    """A file that a cell has made, anew each time."""
    return noticed(
        title,
        cell.format(1),
        cell.format(2),
        uses,
        setup=setup,
        **{'because': f'{name} changed', **more},
    )


_DECLARED = """
class T(kartnb.TaskOnKart):
    def run(self):
        self.dump({})
"""
_EXTERNAL = """
class Data(luigi.ExternalTask):
    def output(self): return luigi.LocalTarget('data.txt')
class T(kartnb.TaskOnKart):
    def requires(self): return Data()
    def run(self): self.dump(int(open(self.input().path).read()))
"""
_PARAMETER = """
class T(kartnb.TaskOnKart):
    path = kartnb.FileParameter()
    def run(self): self.dump(int(open(self.path).read()))
"""

FILES: list[Kind] = [
    _read('`open`', "int(open('data.txt').read())"),
    _read('`Path.read_text`', "int(Path('data.txt').read_text())", setup='from pathlib import Path'),
    _read(
        'a file that a function reads',
        'f()',
        setup="def f():\n    with open('data.txt') as file:\n        return int(file.read())",
    ),
    _read('a file below a directory', "int(open('data/a.txt').read())", name='data/a.txt'),
    _read(
        'a file in a directory that is made if it is not there',
        'f()',
        name='data/a.txt',
        setup="import os\ndef f():\n    os.makedirs('data', exist_ok=True)\n    return int(open('data/a.txt').read())",
    ),
    _read(
        'a file that the task adds nothing to',
        'f()',
        setup="def f():\n    open('data.txt', 'a').close()\n    return int(open('data.txt').read())",
    ),
    _read(
        'a file that the task fails to make',
        'f()',
        setup="def f():\n    try: open('data.txt', 'x')\n    except FileExistsError: pass\n"
        "    return int(open('data.txt').read())",
    ),
    _read('a file by its absolute path', "int(open(os.path.abspath('data.txt')).read())", setup='import os'),
    _read('`csv`', "int(next(csv.reader(open('data.csv')))[0])", name='data.csv', setup='import csv'),
    _read('`json`', "json.load(open('data.json'))", name='data.json', setup='import json'),
    _read(
        '`pandas.read_csv`',
        "int(pd.read_csv('data.csv', header=None)[0][0])",
        name='data.csv',
        setup='import pandas as pd',
    ),
    _read('`numpy.loadtxt`', "int(np.loadtxt('data.txt'))", setup='import numpy as np'),
    _read('`os.open`', "int(os.read(os.open('data.txt', os.O_RDONLY), 9))", setup='import os'),
    _made('`numpy.load`', "np.save('a.npy', [{}])", "int(np.load('a.npy')[0])", 'import numpy as np', 'a.npy'),
    _made(
        '`pickle`', "pickle.dump({}, open('a.pkl', 'wb'))", "pickle.load(open('a.pkl', 'rb'))", 'import pickle', 'a.pkl'
    ),
    _made(
        '`gzip`',
        "with gzip.GzipFile('a.gz', 'wb', mtime=0) as f: f.write(b'{}')",
        "int(gzip.open('a.gz').read())",
        'import gzip',
        'a.gz',
    ),
    _made(
        '`pandas.read_parquet`, with `self.reads`',
        "pd.DataFrame({{'a': [{}]}}).to_parquet('a.parquet')",
        "int(pd.read_parquet(self.reads('a.parquet')).a[0])",
        'import pandas as pd',
        'a.parquet',
    ),
    _made(
        '`pandas.read_parquet`',
        "pd.DataFrame({{'a': [{}]}}).to_parquet('a.parquet')",
        "int(pd.read_parquet('a.parquet').a[0])",
        'import pandas as pd',
        'a.parquet',
    ),
    _read(
        '`polars`, with `self.reads`',
        "pl.read_csv(self.reads('data.csv'), has_header=False).item()",
        name='data.csv',
        setup='import polars as pl',
    ),
    _read(
        '`pyarrow`, with `self.reads`',
        "csv.read_csv(self.reads('data.csv'), read_options=csv.ReadOptions(column_names=['a']))['a'][0].as_py()",
        name='data.csv',
        setup='from pyarrow import csv',
    ),
    _read('a `FileParameter`', '', task=_PARAMETER, root="T(path='data.txt')"),
    _read('an `ExternalTask`', '', task=_EXTERNAL),
    _read(
        'a file that `requires` reads',
        '',
        task='class A(kartnb.TaskOnKart):\n    n = luigi.IntParameter()\n'
        '    def run(self): self.dump(self.n)\n'
        "class T(kartnb.TaskOnKart):\n    def requires(self): return A(n=int(open('data.txt').read()))\n"
        '    def run(self): self.dump(self.load())',
        because='',
        runs=('A', 'T'),
    ),
    noticed(
        'a file that is read when the notebook is opened',
        {'data.txt': '1'},
        {'data.txt': '2'},
        setup="K = int(open('data.txt').read())",
        again="K = int(open('data.txt').read())",
    ),
    noticed(
        'one file of a directory',
        {'data/a.txt': '1', 'data/b.txt': '0'},
        {'data/b.txt': '1'},
        "sum(int(p.read_text()) for p in Path('data').iterdir())",
        setup='from pathlib import Path',
        because='b.txt changed',
    ),
    noticed(
        'a new file in a directory',
        {'data/a.txt': '1'},
        {'data/b.txt': '1'},
        "len(os.listdir('data'))",
        setup='import os',
        because='new file',
        comes_back=False,
    ),
    noticed(
        'a new file that `glob` finds',
        {'data/a.txt': '1'},
        {'data/b.txt': '1'},
        "sum(int(open(p).read()) for p in glob.glob('data/*.txt'))",
        setup='import glob',
        because='new file',
        comes_back=False,
    ),
    noticed(
        'a file of a required task',
        {'data.txt': '1'},
        {'data.txt': '2'},
        task="class A(kartnb.TaskOnKart):\n    def run(self): self.dump(int(open('data.txt').read()))\n"
        'class T(kartnb.TaskOnKart):\n    def requires(self): return A()\n'
        '    def run(self): self.dump(self.load())',
        runs=('A', 'T'),
        because='an upstream',
    ),
    cached('a file that was only touched', {'data.txt': '1'}, {'data.txt': '1'}, "int(open('data.txt').read())"),
    cached(
        'a file that is not read',
        {'data.txt': '1', 'other.txt': '1'},
        {'other.txt': '2'},
        "int(open('data.txt').read())",
    ),
    cached(
        'a file that the task itself writes',
        'K = 1',
        'K = 1',
        "(open('log.txt', 'a').write('x'), len(open('log.txt').read()))[0]",
    ),
    cached(
        'another file of another name with the same contents',
        {'a.txt': '1', 'b.txt': '1'},
        {'b.txt': '3'},
        "int(open('a.txt').read())",
    ),
]

OUTSIDE: list[Kind] = [
    unseen(
        'an environment variable',
        "os.environ['N'] = '1'",
        "os.environ['N'] = '2'",
        "int(os.environ['N'])",
        setup='import os',
    ),
    unseen(
        'a script that runs in a process of its own',
        {'script.py': 'print(1)'},
        {'script.py': 'print(2)'},
        "int(subprocess.run([sys.executable, 'script.py'], capture_output=True).stdout)",
        setup='import subprocess, sys',
    ),
    unseen(
        'a file that a library reads in native code, without `self.reads`',
        {'data.csv': '1'},
        {'data.csv': '2'},
        "pl.read_csv('data.csv', has_header=False).item()",
        setup='import polars as pl',
    ),
    unseen(
        'the answer of a server',
        "os.environ['ANSWER'] = '1'",
        "os.environ['ANSWER'] = '2'",
        "int(urllib.request.urlopen(f'http://127.0.0.1:{PORT}').read())",
        setup="""
import http.server, os, threading, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ['ANSWER'].encode())
    def log_message(self, *args): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
def port(): return server.server_port
PORT = type('Port', (), {'__format__': lambda self, spec: str(port())})()
""",
        places=('kernel',),
    ),
]
