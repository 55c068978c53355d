"""The object store on any S3 service, through the `minio` client."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import MinioException, S3Error, ServerError
from minio.helpers import check_bucket_name
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Retry, Timeout

from configs.settings import StoreSettings
from foundation.error_text import cause_text
from resources.object_store import (
    CHECK,
    CHUNK_BYTES,
    TEMP_FOLDER,
    ObjectNotFoundError,
    StoreAccessError,
    StoredObject,
    StoreError,
    StoreUnavailableError,
    check_expiry,
    check_key,
    check_prefix,
    disposition,
    is_key,
)

READ_TIMEOUT_S = 30
"""Longest silence within an answer, once the service has been reached; a store under load may think for seconds."""
PART_SIZE_BYTES = 16 * 1024 * 1024
"""Objects above this go up in parts; pictures almost never do."""

_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?")
_OUTAGES = {"InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "Throttling"}
_BOTH_KEYS = "IMAGEGENX_STORE__ACCESS_KEY and IMAGEGENX_STORE__SECRET_KEY"
_REMEDIES = {
    "AccessDenied": f"Check that {_BOTH_KEYS} belong together and may list, read, write and delete there",
    "AllAccessDisabled": "Ask the service's operator to enable the account",
    "AuthorizationHeaderMalformed": "Set IMAGEGENX_STORE__REGION to the bucket's region",
    "BucketAlreadyExists": "Another account has this name; set IMAGEGENX_STORE__BUCKET to a free one",
    "IllegalLocationConstraintException": "Set IMAGEGENX_STORE__REGION to the service's region",
    "InvalidAccessKeyId": "The service does not know the access key; set IMAGEGENX_STORE__ACCESS_KEY",
    "InvalidBucketName": "Set IMAGEGENX_STORE__BUCKET to 3 to 63 of a-z, 0-9, '.' and '-'",
    "NoSuchBucket": "There is no such bucket; correct IMAGEGENX_STORE__BUCKET, or let check() make it",
    "PermanentRedirect": "Set IMAGEGENX_STORE__REGION to the bucket's region",
    "RequestTimeTooSkewed": "This machine's clock is wrong; set it",
    "SignatureDoesNotMatch": f"{_BOTH_KEYS} do not belong together; set both to the service's values",
}


class S3ObjectStore:
    """An object store in one bucket of an S3 service, below `prefix` (a folder) if that is set.

    S3 makes an object visible when its last byte has arrived and its checksum is right, so none is ever half-written.
    A process killed while an object above PART_SIZE_BYTES goes up leaves parts that no listing shows: a lifecycle rule
    (AbortIncompleteMultipartUpload) on the bucket removes those.

    The first request, and the first after an outage, is preceded by one that may take `connect_timeout_s` at most, so
    that a service that is down shows in seconds; later answers may take READ_TIMEOUT_S.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._folder = f"{settings.prefix.strip('/')}/" if settings.prefix.strip("/") else ""
        self._reached = False
        self._bucket_seen = False
        if self._folder:
            check_key(self._folder[:-1])
        self._http = _connection_pool(settings)
        self._client = self._new_client()

    def put(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        """Upload the object."""
        name = self._name(key)
        with self._request(key) as client:
            written = client.put_object(
                self._bucket, name, io.BytesIO(data), len(data), content_type=content_type, part_size=PART_SIZE_BYTES
            )
            return StoredObject(key, len(data), _etag(written.etag))

    def get(self, key: str) -> bytes:
        """The object's bytes, checked against their announced length."""
        name = self._name(key)
        with self._request(key) as client:
            try:
                return self._download(client, name)
            except (ProtocolError, ReadTimeoutError):  # urllib3 retries requests, but not a body that was cut off
                return self._download(client, name)

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The object's bytes, as they come in."""
        name = self._name(key)
        with self._request(key) as client:
            response = client.get_object(self._bucket, name, offset=start)
            try:
                _etag(response.headers.get("etag"))
                yield from response.stream(CHUNK_BYTES)
            finally:
                response.close()
                response.release_conn()

    def stat(self, key: str) -> StoredObject | None:
        """Size and etag, from the service."""
        name = self._name(key)
        with self._request(key) as client:
            try:
                return _stored(key, client.stat_object(self._bucket, name))
            except S3Error as exc:
                if exc.code != "NoSuchKey":
                    raise
                self._require_bucket(client)
                return None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Ask the service page by page, as the iteration goes on."""
        check_prefix(prefix)
        return self._listed(prefix)

    def delete(self, key: str) -> None:
        """Remove the object."""
        name = self._name(key)
        with self._request(key) as client:
            try:
                client.remove_object(self._bucket, name)
            except S3Error as exc:
                if exc.code != "NoSuchKey":
                    raise

    def url(self, key: str, expires_s: int | None = None, *, download_as: str = "") -> str:
        """A presigned GET URL, made without a request (unless no region is configured)."""
        expires_s = check_expiry(self._settings.url_expires_s if expires_s is None else expires_s)
        name = self._name(key)
        with self._explained(key):
            headers: dict[str, str | list[str] | tuple[str]] = {}
            if download_as:
                headers["response-content-disposition"] = disposition(download_as)
            life = timedelta(seconds=expires_s)
            return self._client.presigned_get_object(self._bucket, name, life, response_headers=headers)

    def check(self) -> None:
        """Write a small object, always the same one, which no listing shows; make the bucket if missing."""
        with self._request("") as client:
            try:
                self._write_check(client)
            except S3Error as exc:
                if exc.code != "NoSuchBucket":
                    raise
                self._make_bucket(client)
                self._write_check(client)
        self._bucket_seen = True

    def _write_check(self, client: Minio) -> None:
        name = f"{self._folder}{TEMP_FOLDER}/check"
        written = client.put_object(self._bucket, name, io.BytesIO(CHECK), len(CHECK), content_type="text/plain")
        _etag(written.etag)

    def _name(self, key: str) -> str:
        check_key(key)
        return self._folder + key

    def _download(self, client: Minio, name: str) -> bytes:
        response = client.get_object(self._bucket, name)
        try:
            _etag(response.headers.get("etag"))
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()

    def _listed(self, prefix: str) -> Iterator[StoredObject]:
        with self._request(prefix) as client:
            for found in client.list_objects(self._bucket, prefix=self._folder + prefix, recursive=True):
                key = (found.object_name or "").removeprefix(self._folder)
                if is_key(key):
                    yield _stored(key, found)

    def _require_bucket(self, client: Minio) -> None:
        """A HEAD answers 404 for a missing object and a missing bucket alike: tell them apart, once."""
        if not self._bucket_seen and not client.bucket_exists(self._bucket):
            raise StoreAccessError(self._refusal("NoSuchBucket"))
        self._bucket_seen = True

    def _make_bucket(self, client: Minio) -> None:
        try:
            client.make_bucket(self._bucket)
        except S3Error as exc:
            if exc.code != "BucketAlreadyOwnedByYou":  # another process was faster
                raise
        except ValueError as exc:
            raise StoreAccessError(self._refusal("InvalidBucketName")) from exc

    def _new_client(self) -> Minio:
        settings = self._settings
        try:
            check_bucket_name(self._bucket)
            if not _ENDPOINT.fullmatch(settings.endpoint):
                raise ValueError("the endpoint is not host:port")
            return Minio(
                settings.endpoint,
                access_key=settings.access_key.get_secret_value(),
                secret_key=settings.secret_key.get_secret_value(),
                secure=settings.secure,
                region=settings.region or None,
                http_client=self._http,
            )
        except ValueError as exc:
            raise StoreAccessError(
                f"S3 endpoint '{settings.endpoint}', bucket '{self._bucket}', region '{settings.region}': "
                f"{cause_text(exc)}. "
                "Set IMAGEGENX_STORE__ENDPOINT to host:port without http://, and IMAGEGENX_STORE__BUCKET and "
                "IMAGEGENX_STORE__REGION to names the service knows."
            ) from exc

    @contextmanager
    def _request(self, key: str) -> Iterator[Minio]:
        with self._explained(key):
            if not self._reached:
                self._reach()
            yield self._client

    def _reach(self) -> None:
        """Wait for any answer at all, for `connect_timeout_s` in total."""
        settings = self._settings
        address = f"{'https' if settings.secure else 'http'}://{settings.endpoint}/"
        self._http.request("HEAD", address, retries=False, timeout=Timeout(total=settings.connect_timeout_s))
        self._reached = True

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except S3Error as exc:
            raise self._error(exc, key) from exc
        except (HTTPError, OSError, ServerError) as exc:
            self._reached = False
            raise StoreUnavailableError(self._outage(_reason(exc))) from exc
        except (MinioException, ParseError, ValueError) as exc:
            raise StoreUnavailableError(self._outage("it answers, but not as S3 does")) from exc

    def _error(self, exc: S3Error, key: str) -> StoreError:
        if exc.code == "NoSuchKey":
            return ObjectNotFoundError(key, self._where())
        if exc.code in _OUTAGES or exc.response.status >= 500:
            return StoreUnavailableError(self._outage(f"it answered {exc.code}"))
        return StoreAccessError(self._refusal(exc.code or f"HTTP {exc.response.status}"))

    def _where(self) -> str:
        return f"bucket '{self._bucket}' at '{self._settings.endpoint}'"

    def _refusal(self, code: str) -> str:
        remedy = _REMEDIES.get(code, "Look this code up in the service's documentation")
        return f"{self._where()}: {code}. {remedy}."

    def _outage(self, reason: str) -> str:
        return (
            f"S3 service at '{self._settings.endpoint}': {reason}. Check that it runs and that "
            "IMAGEGENX_STORE__ENDPOINT and IMAGEGENX_STORE__SECURE are right."
        )


def _connection_pool(settings: StoreSettings) -> urllib3.PoolManager:
    """Connections that never wait for minutes, as the client's own would: 5 minutes for each of 6 attempts."""
    retries = Retry(
        total=4,
        connect=1,
        read=1,
        status=3,
        backoff_factor=0.2,
        status_forcelist=(500, 502, 503, 504),
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    return urllib3.PoolManager(
        timeout=Timeout(connect=settings.connect_timeout_s, read=READ_TIMEOUT_S),
        retries=retries,
        maxsize=32,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )


def _reason(exc: Exception) -> str:
    """Why there was no answer, without the URL that urllib3 puts into its own texts."""
    cause = exc.reason if isinstance(exc, MaxRetryError) and exc.reason else exc
    match cause:
        case NameResolutionError():
            return "this name does not resolve"
        case NewConnectionError():
            return f"no connection ({getattr(cause.__cause__, 'strerror', None) or 'refused'})"
        case ConnectTimeoutError():
            return "no connection in time"
        case ReadTimeoutError():
            return "no answer in time"
        case SSLError():
            return f"TLS failed ({cause})"
        case ProtocolError():
            return "the connection was cut off"
        case ServerError():
            return f"it answered HTTP {cause.status_code}"
    return type(cause).__name__


def _stored(key: str, found: Object) -> StoredObject:
    written_s = found.last_modified.timestamp() if found.last_modified else 0.0
    return StoredObject(key, found.size or 0, _etag(found.etag), written_s)


def _etag(given: str | None) -> str:
    """What S3 always gives with an object, bare; MinioException for an answer from something else, as proxies give."""
    if etag := (given or "").strip('"'):
        return etag
    raise MinioException("the answer has no ETag")
