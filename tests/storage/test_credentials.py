"""Credentials of object stores: read from where gokart reads them, and written nowhere."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gokart.gcs_config
import gokart.s3_config
import luigi
import pytest

import kartnb
from kartnb.errors import MissingPackageError, StorageError, TaskSettingError
from kartnb.storage.filesystem import file_system
from kartnb.storage.remote import GCSConfig, S3Config, _backend
from kartnb.storage.targets import make_target
from tests.execution.luigi_settings import luigi_settings
from tests.storage.servers import Server, bucket, objects, s3_server

__all__ = ['bucket', 's3_server']

boto3: Any = pytest.importorskip('boto3')
OTHER_NAMES = {'aws_access_key_id_name': 'MY_ID', 'aws_secret_access_key_name': 'MY_SECRET'}
IN_SECTION = {'aws_access_key_id': 'section-key', 'aws_secret_access_key': 'section-secret'}


@pytest.fixture
def settings() -> Iterator[Callable[..., None]]:
    """Set options of sections of luigi's configuration until the end of the test."""
    with luigi_settings('S3Config'):
        config = luigi.configuration.get_config()
        used: list[str] = []

        def use(section: str, **values: object) -> None:
            used.append(section)
            for name, value in values.items():
                config.set(section, name, str(value))

        yield use
        for section in used:
            config.remove_section(section)


def used_by_kartnb() -> tuple[Any, ...]:
    """Key, secret, token, endpoint and region of the client behind s3://."""
    backend, _ = _backend('s3://bucket')
    backend.connect()
    return of_client(backend.s3)


def used_by_gokart() -> tuple[Any, ...]:
    return of_client(gokart.s3_config.S3Config()._get_s3_client().s3.meta.client)


def of_client(client: Any) -> tuple[Any, ...]:
    keys = client._request_signer._credentials
    return keys.access_key, keys.secret_key, keys.token, client.meta.endpoint_url, client.meta.region_name


@pytest.mark.parametrize(
    'environment, names, section',
    [
        ((), {}, {}),
        ((), {}, IN_SECTION),
        (('AWS_ACCESS_KEY_ID',), {}, {**IN_SECTION, 'aws_session_token': 'token', 'region_name': 'eu-west-3'}),
        (('MY_ID', 'MY_SECRET'), OTHER_NAMES, {'endpoint_url': 'http://127.0.0.1:1', 'region_name': 'eu-west-3'}),
        (('MY_ID', 'MY_SECRET'), OTHER_NAMES, {**IN_SECTION, 'aws_session_token': 'token', 'use_ssl': 0}),
        (('MY_SECRET',), OTHER_NAMES, IN_SECTION),
        ((), OTHER_NAMES, IN_SECTION),
        ((), OTHER_NAMES, {}),
    ],
)
def test_keys_are_read_as_gokart_reads_them(
    environment: tuple[str, ...],
    names: dict[str, str],
    section: dict[str, Any],
    bucket: str,
    settings: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in environment:
        monkeypatch.setenv(name, f'of {name}')
    settings('S3Config', **names)
    settings('s3', **section)
    assert used_by_kartnb() == used_by_gokart()


def test_a_session_token_of_the_environment_is_used(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # gokart gives boto the keys alone: temporary ones are refused
    monkeypatch.setenv('AWS_SESSION_TOKEN', 'a-token')
    assert used_by_gokart()[2] is None
    assert used_by_kartnb()[:3] == ('a-key', 'pa55w0rd', 'a-token')


def test_a_role_is_assumed_once(
    bucket: str, s3_server: Server, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings('s3', aws_role_arn='arn:aws:iam::123456789012:role/reader', aws_role_session_name='me')
    key, secret, token, *_ = used_by_kartnb()
    assert key.startswith('ASIA')
    assert secret
    assert token
    before = len(s3_server.requests)
    assert used_by_kartnb()[:3] == (key, secret, token)
    make_target(f'{bucket}/a.pkl').dump(1)
    assert len(s3_server.requests) == before + 1


def test_a_key_without_its_secret(bucket: str, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MY_ID', 'a-key')
    settings('S3Config', **OTHER_NAMES)
    with pytest.raises(StorageError, match=f'check the credentials, and that they may read and write {bucket}$'):
        make_target(f'{bucket}/a.pkl').dump(1)


def test_an_unknown_option_is_named(bucket: str, settings: Callable[..., None]) -> None:
    settings('s3', calling_format='boto.s3.connection.OrdinaryCallingFormat')
    with pytest.raises(TaskSettingError, match=r'^\[s3\] calling_format in the configuration is unknown: use aws_acc'):
        file_system(bucket)


class Sum(kartnb.TaskOnKart[int]):
    n: int = luigi.IntParameter(default=2)

    def requires(self) -> Any:
        return [Sum(n=n, workspace_directory=self.workspace_directory) for n in range(self.n)]

    def run(self) -> None:
        logging.getLogger('kartnb.test').warning('running')
        self.dump(1 + sum(self.load()))


@pytest.fixture
def strict(s3_server: Server, bucket: str) -> Iterator[tuple[str, str]]:
    """The keys of a user who may use S3, on a server that knows no others."""
    iam = boto3.client('iam')
    iam.create_user(UserName='me')
    allowed = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 's3:*', 'Resource': '*'}]}
    iam.put_user_policy(UserName='me', PolicyName='store', PolicyDocument=json.dumps(allowed))
    made = iam.create_access_key(UserName='me')['AccessKey']
    s3_server.let_pass('0')
    yield made['AccessKeyId'], made['SecretAccessKey']
    s3_server.let_pass('inf')
    iam.delete_access_key(UserName='me', AccessKeyId=made['AccessKeyId'])
    iam.delete_user_policy(UserName='me', PolicyName='store')
    iam.delete_user(UserName='me')


@pytest.mark.parametrize('workers', [1, 2])
def test_a_server_that_checks_keys(
    workers: int,
    strict: tuple[str, str],
    bucket: str,
    s3_server: Server,
    settings: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, 'kartnb')
    task = Sum(workspace_directory=bucket)
    with pytest.raises((StorageError, kartnb.GokartBuildError)) as caught:
        kartnb.build(task, workers=workers)
    message = str(caught.value)
    assert f'check the credentials, and that they may read and write {bucket}' in message
    settings('S3Config', **OTHER_NAMES)
    for name, value in zip(OTHER_NAMES.values(), strict, strict=True):
        monkeypatch.setenv(name, value)
    assert kartnb.build(task, workers=workers) == 4
    shown = [message, caplog.text, repr(S3Config()), repr(file_system(bucket)), repr(kartnb.plan(task))]
    s3_server.let_pass('inf')
    kept = b''.join(objects(bucket).values())
    for secret in (*strict, 'pa55w0rd'):
        assert not any(secret in text for text in shown)
        assert secret.encode() not in kept


def test_luigis_client_is_given_to_code_that_asks_for_it(bucket: str) -> None:
    make_target(f'{bucket}/a.txt').dump('words')
    client = S3Config().get_s3_client()
    assert client.exists(f'{bucket}/a.txt')
    assert S3Config().get_s3_client() is client


@pytest.mark.parametrize(
    'call, message',
    [
        ('S3Config().get_s3_client()', 'luigi.contrib.s3 needs boto3: pip install boto3'),
        (
            'GCSConfig().get_gcs_client()',
            'luigi.contrib.gcs needs googleapiclient: pip install google-api-python-client',
        ),
    ],
)
def test_a_client_whose_package_is_missing(call: str, message: str) -> None:
    script = f"""
import sys
sys.modules['boto3'] = sys.modules['googleapiclient'] = None
from kartnb.storage.remote import GCSConfig, S3Config
try:
    {call}
except ImportError as error:
    print(error)
"""
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == message
    assert issubclass(MissingPackageError, ImportError)


@pytest.fixture(scope='module')
def account() -> str:
    """A service account as JSON."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        'type': 'service_account', 'client_email': 'me@project.iam.gserviceaccount.com', 'private_key': text,
        'token_uri': 'http://127.0.0.1:1/token', 'project_id': 'project',
    }  # fmt: skip
    return json.dumps(account)


@pytest.mark.parametrize('name', ['GCS_CREDENTIAL', 'MY_ACCOUNT'])
@pytest.mark.parametrize('is_file', [False, True])
def test_a_service_account_is_read_as_gokart_reads_it(
    name: str, is_file: bool, account: str, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('gcsfs')
    Path('account.json').write_text(account)
    monkeypatch.setenv(name, 'account.json' if is_file else account)
    if name != 'GCS_CREDENTIAL':
        settings('GCSConfig', gcs_credential_name=name)
    theirs: Any = gokart.gcs_config.GCSConfig()._load_oauth_credentials()
    backend, _ = _backend('gs://bucket/a')
    ours = backend.credentials.credentials
    assert ours.service_account_email == theirs.service_account_email == 'me@project.iam.gserviceaccount.com'
    assert ours.signer.sign(b'x') == theirs.signer.sign(b'x')
    assert 'PRIVATE KEY' not in repr(GCSConfig()) + repr(file_system('gs://bucket/a'))


@pytest.mark.parametrize(
    'text', ['{"private_key": "s3cret"', '{"private_key": "s3cret"}', '"s3cret"', 'no/s3cret.json']
)
def test_what_is_not_a_service_account(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('gcsfs')
    monkeypatch.setenv('GCS_CREDENTIAL', text)
    with pytest.raises(TaskSettingError, match='variable GCS_CREDENTIAL must hold the JSON') as caught:
        file_system('gs://bucket/a')
    error: BaseException | None = caught.value
    while error is not None:
        assert 's3cret' not in str(error)
        error = error.__cause__ or error.__context__
