"""kartnb and the real gokart use one workspace on an object store: each finds what the other wrote, labels too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import gokart.object_storage
import gokart.target
import gokart.zip_client_util
import luigi
import numpy as np
import pytest
from gokart.gcs_obj_metadata_client import GCSObjectMetadataClient
from gokart.required_task_output import RequiredTaskOutput
from hypothesis import given
from hypothesis import strategies as st

from kartnb.compat.stores import ObjectStorage, make_zip_client
from kartnb.errors import MissingResultError
from kartnb.storage.targets import has_labels, make_target, object_labels
from tests.storage.servers import bucket, gcs_bucket, gcs_server, objects, s3_server, store

__all__ = ['bucket', 'gcs_bucket', 'gcs_server', 's3_server', 'store']

pytest.importorskip('s3fs')
pytest.importorskip('googleapiclient')

#: A script for either library: it builds, and says which tasks ran, and what it reads.
SCRIPT = """
import json, os, sys
from pathlib import Path
library, place = sys.argv[1:]
if library == 'kartnb':
    import kartnb as gokart
    from kartnb.target import make_target
else:
    import gokart
    from gokart.target import make_target
    if place.startswith('gs:'):  # luigi's client knows no other address than Google's
        import googleapiclient, httplib2
        from gokart.gcs_config import GCSConfig
        from luigi.contrib.gcs import GCSClient
        known = Path(googleapiclient.__path__[0], 'discovery_cache/documents/storage.v1.json').read_text()
        here = known.replace('https://storage.googleapis.com', os.environ['STORAGE_EMULATOR_HOST'])
        GCSConfig()._client = GCSClient(http_=httplib2.Http(), descriptor=here)
import luigi
import numpy as np
import pandas as pd
ran = []
class Table(gokart.TaskOnKart):
    kind = luigi.Parameter()
    def output(self): return self.make_target(f'tables/t.{self.kind}')
    def run(self):
        ran.append(self.kind)
        self.dump(pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']}))
class Value(gokart.TaskOnKart):
    kind = luigi.Parameter()
    def output(self): return self.make_target(f'values/v.{self.kind}')
    def run(self):
        ran.append(self.kind)
        self.dump({'npz': np.arange(3), 'pkl': {'a': [1]}, 'png': b'x'}.get(self.kind, ['a', 'b']))
class Large(gokart.TaskOnKart):
    def output(self): return self.make_large_data_frame_target(max_byte=10_000)
    def run(self):
        ran.append('large')
        self.dump(pd.DataFrame({'a': np.arange(2000)}))
class Model(gokart.TaskOnKart):
    note = luigi.Parameter('a note')
    quiet = luigi.Parameter('unseen', significant=False)
    def requires(self):
        with_place = {'workspace_directory': self.workspace_directory}
        tables = [Table(kind=kind, **with_place) for kind in ('csv', 'json', 'parquet', 'feather')]
        values = [Value(kind=kind, **with_place) for kind in ('pkl', 'txt', 'gz', 'npz', 'png')]
        return {'tables': tables, 'values': values, 'large': Large(**with_place)}
    def output(self):
        return self.make_model_target('models/m.zip', save_function=save, load_function=load)
    def run(self):
        ran.append('model')
        self.dump(np.arange(len(self.load('large'))))
def save(model, path): np.save(path, model)
def load(path): return np.load(f'{path}.npy')
class Root(gokart.TaskOnKart):
    n = luigi.IntParameter(3)
    def requires(self): return Model(workspace_directory=self.workspace_directory)
    def run(self):
        ran.append('root')
        self.task_log['score'] = 1
        self.dump(int(self.load()[-1]) + self.n, custom_labels={'owner': 'mé', 'n': 'mine', 'empty': ''})
root = Root(workspace_directory=place)
value = gokart.build(root, log_level=50)
model = root.requires()
inputs = {'tables': [t.output().load() for t in model.requires()['tables']]}
# gokart itself cannot read its arrays from S3, where its files cannot go back
unread = 'npz' if (library, place[:2]) == ('gokart', 's3') else ''
inputs['values'] = {t.kind: repr(t.output().load()) for t in model.requires()['values'] if t.kind != unread}
inputs['tables'] = [t.to_dict('list') for t in inputs['tables']]
inputs['large'] = sorted(model.requires()['large'].output().load().a) == list(range(2000))
logs = {
    kind: make_target(f'{place}/log/{kind}/Root_{root.make_unique_id()}.pkl').load()
    for kind in ('task_params', 'task_log', 'random_seed', 'processing_time')
}
logs['processing_time'] = isinstance(logs['processing_time'], float)
print(json.dumps({'ran': ran, 'value': value, 'model': len(model.output().load()), 'inputs': inputs, 'logs': logs}))
"""


def built_by(library: str, place: str) -> Any:
    Path('script.py').write_text(SCRIPT)
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    command = [sys.executable, '-W', 'ignore', 'script.py', library, place]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('first, second', [('gokart', 'kartnb'), ('kartnb', 'gokart')])
def test_each_uses_what_the_other_wrote(store: str, first: str, second: str) -> None:
    made = built_by(first, f'{store}/results')
    assert len(made['ran']) == 12
    before = objects(store)
    labels = all_labels(store)
    found = built_by(second, f'{store}/results')
    assert found['ran'] == []
    for said in (made, found):
        assert said['inputs']['values'].pop('npz', 'array([0, 1, 2])') == 'array([0, 1, 2])'
    assert {**found, 'ran': made['ran']} == made
    results = {name: data for name, data in objects(store).items() if '/run_record/' not in name}
    assert results == {name: data for name, data in before.items() if '/run_record/' not in name}
    assert all_labels(store) == labels


def test_both_write_the_same_names_and_labels(gcs_server: str, gcs_bucket: str) -> None:
    labels, names = {}, {}
    for library in ('gokart', 'kartnb'):
        built_by(library, f'{gcs_bucket}/results')
        names[library] = {name for name in objects(gcs_bucket) if '/run_record/' not in name}
        labels[library] = all_labels(gcs_bucket)
        for name in objects(gcs_bucket):
            url = f'{gcs_server}/storage/v1/b/{gcs_bucket[5:]}/o/{urllib.parse.quote(name, safe="")}'
            urllib.request.urlopen(urllib.request.Request(url, method='DELETE')).close()
    assert names['gokart'] == names['kartnb']
    assert labels['kartnb'] == labels['gokart']
    [root] = [found for name, found in labels['kartnb'].items() if '/Root_' in name]
    assert root.keys() == {'owner', 'n', '__required_task_outputs'}
    assert (root['owner'], root['n']) == ('mé', 'mine')


def all_labels(place: str) -> dict[str, dict[str, str]]:
    """The metadata of all objects that have any, by name; none on S3."""
    if place.startswith('s3:'):
        return {}
    address = os.environ['STORAGE_EMULATOR_HOST']
    with urllib.request.urlopen(f'{address}/storage/v1/b/{place[5:]}/o') as answer:
        return {item['name']: item['metadata'] for item in json.load(answer)['items'] if item.get('metadata')}


def test_gokart_does_not_read_its_arrays_from_s3(bucket: str) -> None:
    theirs = gokart.target.make_target(f'{bucket}/a.npz')
    theirs.dump(np.arange(3))
    with pytest.raises(AttributeError, match='seek'):
        theirs.load()
    assert list(make_target(f'{bucket}/a.npz').load()) == [0, 1, 2]


ZIP_CLIENTS = {'gokart': gokart.zip_client_util.make_zip_client, 'kartnb': make_zip_client}


@pytest.mark.parametrize('first, second', [('gokart', 'kartnb'), ('kartnb', 'gokart')])
@pytest.mark.parametrize('is_local', [False, True])
def test_each_unpacks_what_the_other_packed(bucket: str, first: str, second: str, is_local: bool) -> None:
    place = 'some.zip' if is_local else f'{bucket}/some.zip'
    files = {'a.txt': 'words', 'below/b.txt': 'more', 'empty': ''}
    for name, text in files.items():
        Path('parts', name).parent.mkdir(parents=True, exist_ok=True)
        Path('parts', name).write_text(text)
    client = ZIP_CLIENTS[first](place, 'parts')
    assert not client.exists()
    client.make_archive()
    found: Any = ZIP_CLIENTS[second](place, 'unpacked/here')
    assert found.exists()
    assert found.path == client.path == place
    found.unpack_archive()
    assert {
        str(path.relative_to('unpacked/here')): path.read_text()
        for path in Path('unpacked/here').rglob('*')
        if path.is_file()
    } == files
    ours = make_zip_client(place, 'parts')
    ours.remove()  # gokart's does nothing to a local one
    ours.remove()
    assert not ours.exists()
    with pytest.raises(MissingResultError, match='does not exist'):
        ours.unpack_archive()


def test_object_storage_answers_as_gokarts(bucket: str) -> None:
    make_target(f'{bucket}/a.txt').dump('words')
    theirs: Any = gokart.object_storage.ObjectStorage
    for ask in (theirs, ObjectStorage):
        assert ask.if_object_storage_path(bucket)
        assert ask.if_object_storage_path('gs://bucket')
        assert not ask.if_object_storage_path('az://bucket')
        assert ask.exists(f'{bucket}/a.txt')
        assert not ask.exists(f'{bucket}/b.txt')
        assert ask.get_zip_client(f'{bucket}/a.zip', 'parts').path == f'{bucket}/a.zip'
        target = ask.get_object_storage_target(f'{bucket}/a.txt', luigi.format.Nop)
        with target.open('r') as file:
            assert not ask.is_buffered_reader(file)
            assert file.read() == b'words'
    assert ObjectStorage.get_timestamp(f'{bucket}/a.txt') == theirs.get_timestamp(f'{bucket}/a.txt')
    for name in ('exists', 'get_timestamp'):
        with pytest.raises(ValueError, match='is not in an object store: its path must begin with s3'):
            getattr(ObjectStorage, name)('a.txt')


texts = st.one_of(st.text(max_size=12), st.text('é日x', min_size=500, max_size=3000))
labels_of_one = st.dictionaries(st.sampled_from('abcdé'), texts, max_size=5)
outputs = st.builds(RequiredTaskOutput, st.text(max_size=9), st.text(max_size=9))
required = st.recursive(
    outputs, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)


@given(
    labels_of_one, st.none() | st.dictionaries(st.sampled_from('abcdé'), texts | st.integers()), st.none() | required
)
def test_labels_are_those_of_gokart(params: dict[str, str], custom: dict[str, Any] | None, outputs: Any) -> None:
    theirs = GCSObjectMetadataClient._get_patched_obj_metadata({}, params, custom, outputs)
    assert object_labels(params, custom, outputs) == theirs


@pytest.mark.parametrize(
    'path', ['log/a.pkl', 'a/log/task_log/a.pkl', 'log/task_params/b', 'xlog/task_log/b', 'log/run/x']
)
def test_the_same_objects_have_labels(path: str) -> None:
    assert has_labels(f'gs://bucket/{path}') is not GCSObjectMetadataClient._is_log_related_path(f'gs://bucket/{path}')
