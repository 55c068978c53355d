"""The one service behind the HTTP and the gRPC face: who may do what with which task."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from configs.settings import Settings
from foundation.errors import ImageGenXError
from foundation.kept_secret import kept_secret
from foundation.problems import shown
from gateway.batch_items import BatchItem, batch_items
from gateway.budgets import Budgets
from gateway.caller import caller_address
from gateway.errors import ServiceError, bad_field, named_as, service_errors
from gateway.health import Health, HealthCheck
from gateway.inputs import References, check_urls, read_references
from gateway.links import Kind, PictureLinks
from gateway.model_states import ModelStates
from gateway.uploads import CheckedUploads, Uploads, together
from models.admission import parse_request
from models.blocklist import Blocklist
from models.errors import PictureError, RejectedError
from models.gpus import GPULoad
from models.registry import ModelRegistry
from models.request import STORED, CallbackEvent, GenerationRequest, input_references, with_references
from resources.accounts import Account, Accounts, ExpiredKeyError, MissingScopeError, Scope, UnknownKeyError
from resources.audit import AuditEvent, open_audit
from resources.fair_threads import FairThreads
from resources.mark_records import MarkRecord
from resources.object_store import ObjectStore, StoreError
from resources.outbound.urls import UrlRules
from resources.queue import (
    TASK_ID,
    Batch,
    NewTask,
    QueuePlace,
    RequestQueue,
    Task,
    TaskPicture,
    TaskStatus,
    new_task_id,
    owned_id,
    pixels_of,
)
from resources.shared_folder import refresh_marks
from resources.user_data import DeletedData, UserData, delete_pictures
from resources.verification import Verification, verify

MAX_IDEMPOTENCY_KEY = 255
RETRIED_AMONG = 20
RETRIED_WITHIN_S = 600
"""A call that is sent again is looked for among so many of its caller's latest tasks."""
KNOWN_KEYS = 10_000
"""Keys that were accepted lately, of which a gateway knows whose they are without asking."""


class GatewayService:
    """What a caller may ask for. Safe to use from many threads; every method raises only ServiceError."""

    def __init__(
        self,
        settings: Settings,
        registry: ModelRegistry,
        queue: RequestQueue,
        accounts: Accounts,
        store: ObjectStore,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.queue = queue
        self.accounts = accounts
        self.store = store
        self.links = PictureLinks(_url_secret(settings), public_url(settings), settings.queue.url_ttl_s)
        self.uploads = Uploads(settings, store, queue)
        self.audit = open_audit(settings)
        self._blocklist = Blocklist(settings.checks.blocked_words if settings.checks.moderation else ())
        self._url_rules = UrlRules(settings.gateway.allow_private_hosts)
        self.models = ModelStates(registry, queue)
        self.budgets = Budgets(settings.usage, queue)
        self._health = HealthCheck(queue, store)
        self._owners: dict[str, str] = {}

    @service_errors()
    def authenticate(self, api_key: str | None, scope: Scope, *others: Scope) -> Account:
        """The account of an API key that has one of these scopes, counted against its QPS.

        401 without a key, 403 for a wrong one and for one without the scope, 429 beyond its QPS.
        """
        return self._account(api_key, lambda key: self.accounts.admit(key, scope, *others))

    @service_errors()
    def recognise(self, api_key: str | None) -> Account:
        """The account of an API key, without counting a call: to see that it still is one."""
        return self._account(api_key, self.accounts.authenticate)

    def _account(self, api_key: str | None, ask: Callable[[str], Account]) -> Account:
        if not api_key:
            self.note_refusal("no key")
            raise ServiceError(401, "No API key. Send one in the header X-API-Key; over gRPC, in the field api_key.")
        try:
            account = ask(api_key)
        except UnknownKeyError:
            self.note_refusal("unknown key")
            raise
        except ExpiredKeyError:
            self.note_refusal("expired key")
            raise
        except MissingScopeError as exc:
            self.note_refusal("scope", key=exc.key_id)
            raise
        if api_key not in self._owners:
            if len(self._owners) >= KNOWN_KEYS:
                self._owners.clear()
            self._owners[api_key] = account.user_id
        return account

    def whose(self, api_key: str) -> str:
        """The user of a key that was accepted lately; all others share "", so that made-up keys win nobody a turn."""
        return self._owners.get(api_key, "")

    def threads(self, name: str) -> FairThreads:
        """Threads to answer calls on, of which one user takes half at most."""
        most = self.settings.gateway.threads
        return FairThreads(most, max(1, most // 2), name)

    def note_refusal(self, reason: str, **facts: str) -> None:
        """Note in the audit log that this caller was not let in."""
        self.audit.record_often(AuditEvent.LOGIN_REFUSED, caller_address(), reason=reason, **facts)

    @service_errors()
    def submit(
        self,
        account: Account,
        data: Mapping[str, object],
        *,
        task_id: str = "",
        idempotency_key: str = "",
        pictures: Mapping[str, bytes] | None = None,
        is_retry: bool = False,
    ) -> Task:
        """Queue one request (INTERFACES.md §1) and return its task, or that of the same call made before.

        Args:
            task_id: the client's own id; one is made if it is empty.
            pictures: uploaded pictures by request field (`image_url`, `mask_url`, …); they are stored once everything
                else is known to be right, and a refused request leaves none behind.
            is_retry: the caller sends this again after having hung up; see `_sent_before`.
        """
        _check_idempotency_key(idempotency_key)
        if task_id:
            _check_task_id(task_id)
        found = self._references(account, data)
        pictures = {**found.carried, **(pictures or {})}
        with self._rejections_noted(account):
            request, uploads = self._checked(found, pictures)
        task = NewTask(id=self._new_id(account, task_id), request=request)
        if CallbackEvent.BATCH_ENDED in request.callback_events:
            raise bad_field("callback_events", "batch.ended tells of a batch, which this is not. Leave it out")
        if is_retry and (before := self._sent_before(account, task)):
            return before
        with self.budgets.kept(account, request.params.num_images) as limits:
            user, key, size = account.user_id, idempotency_key, uploads.size
            if pictures:
                known = self.queue.room(task, owner=user, idempotency_key=key, uploads=size, limits=limits)
                if known:
                    return known
            with self.uploads.kept(uploads):
                return self.queue.submit(task, owner=user, idempotency_key=key, uploads=size, limits=limits)

    @service_errors()
    def validate(self, data: Mapping[str, object], uploaded: Iterable[str]) -> None:
        """Refuse a bad request, before anything is done with the pictures that are uploaded for these fields."""
        self._request(data, _placeholders(uploaded))

    @service_errors()
    def submit_batch(self, account: Account, data: Mapping[str, object], *, idempotency_key: str = "") -> Batch:
        """Queue 1 to 20 requests: all of them or none."""
        _check_idempotency_key(idempotency_key)
        with self._rejections_noted(account):
            checked = [self._checked_item(account, item) for item in batch_items(data)]
        requests = [request for request, _ in checked]
        uploads = together([pictures for _, pictures in checked])
        events, callback_url = requests[0].callback_events, requests[0].callback_url
        if events and set(events) != {CallbackEvent.BATCH_ENDED}:
            ends = CallbackEvent.BATCH_ENDED in events
        else:
            requests, ends = [_without_callback(request) for request in requests], True
        pictures = sum(request.params.num_images for request in requests)
        with self.budgets.kept(account, pictures) as limits, self.uploads.kept(uploads):
            return self.queue.submit_batch(
                [NewTask(id=new_task_id(), request=request) for request in requests],
                owner=account.user_id,
                callback_url=callback_url if ends else None,
                idempotency_key=idempotency_key,
                uploads=uploads.size,
                limits=limits,
            )

    @service_errors()
    def task(self, account: Account, task_id: str) -> Task:
        """The caller's task; 404 if there is none, or if it is someone else's."""
        ids = (owned_id(account.user_id, task_id), task_id) if TASK_ID.fullmatch(task_id) else ()
        for task in self.queue.tasks(ids):
            if task and task.owner == account.user_id:
                return task
        raise _no_such("task", task_id)

    @service_errors()
    def latest(self, task: Task) -> Task:
        """The task as it is now, for who has it."""
        return self.queue.task(task.id) or task

    @service_errors()
    def batch(self, account: Account, batch_id: str) -> tuple[Batch, list[Task]]:
        """The caller's batch and those of its tasks that are still remembered, in order."""
        batch = self.queue.batch(batch_id) if TASK_ID.fullmatch(batch_id) else None
        if batch is None or batch.owner != account.user_id:
            raise _no_such("batch", batch_id)
        return batch, [task for task in self.queue.tasks(batch.task_ids) if task is not None]

    @service_errors()
    def cancel(self, account: Account, task_id: str) -> Task:
        """Cancel the caller's task: at once while it waits, at the worker's next heartbeat while it runs."""
        cancelled = self.queue.cancel(self.task(account, task_id).id)
        if cancelled is None:
            raise _no_such("task", task_id)
        return cancelled

    @service_errors()
    def cancel_batch(self, account: Account, batch_id: str) -> tuple[Batch, list[Task]]:
        """Cancel what has not ended of the caller's batch, as `cancel` does."""
        batch, tasks = self.batch(account, batch_id)
        for task in tasks:
            if not task.status.ended:
                self.queue.cancel(task.id)
        return self.batch(account, batch.id)

    @service_errors()
    def open_events(self, stored_id: str, token: str) -> Task:
        """The task whose events a signed address opens: 403 if this token does not, 404 once the task is forgotten."""
        self.links.check_events(stored_id, token)
        if (task := self.queue.task(stored_id)) is None:
            raise _no_such("task", stored_id)
        return task

    @service_errors()
    def place(self, task: Task) -> QueuePlace | None:
        """Where a task is in the queue; None once it has ended."""
        return self.queue.place(task)

    @service_errors()
    def delete(self, account: Account, task_id: str) -> Task:
        """Delete the caller's ended task for good: its pictures first, then its record. 409 while it goes on."""
        task = self.task(account, task_id)
        if task.status.ended:
            self.audit.record(AuditEvent.PICTURE_DELETED, account.user_id, task=task.id, key=account.key_id)
            delete_pictures(self.store, task)
        if self.queue.delete(task.id) is False:
            raise ServiceError(
                409, f"Task '{task_id}' is {task.status.value}. Cancel it first, and delete it once it has ended."
            )
        return task

    @service_errors()
    def verify(self, account: Account, data: bytes) -> Verification:
        """What the marks of a picture say; a record is whole for who asked for the picture, and for operators."""
        self.uploads.check("file", data)

        def may_see(record: MarkRecord) -> bool:
            return Scope.OPERATE in account.scopes or (bool(record.owner) and record.owner == account.user_id)

        try:
            return verify(data, self.settings, self.store, may_see)
        except PictureError as exc:
            raise bad_field("file", str(exc)) from exc

    @service_errors()
    def delete_all(self, account: Account) -> DeletedData:
        """Cancel all of the caller's tasks, and delete their pictures and records for good."""
        deed = partial(self.audit.deed, who=account.user_id, key=account.key_id)
        return UserData(self.store, self.queue, deed).delete(account.user_id)

    @service_errors()
    def owned(
        self, account: Account, *, before_s: float | None = None, before_id: str = "", limit: int = 50
    ) -> list[Task]:
        """The caller's tasks, newest first, after the one of that time and id if these are given."""
        return self.queue.owned(account.user_id, before_s=before_s, before_id=before_id, limit=limit)

    @service_errors()
    def picture_key(self, account: Account, task_id: str, kind: Kind, number: int = 1) -> str:
        """The object key of one of the caller's finished pictures; `number` counts from 1."""
        task = self.task(account, task_id)
        pictures = task.result.pictures if task.result else ()
        if not 1 <= number <= len(pictures):
            raise ServiceError(404, f"Task '{task_id}' has no picture {number}: it is {task.status.value}.")
        picture = pictures[number - 1]
        return picture.original_key if kind == "original" else picture.thumb_key

    @service_errors()
    def store_url(self, key: str, download_as: str = "") -> str:
        """A freshly presigned URL of an object, or the URI of its file if the store is a folder here."""
        return self.store.url(key, download_as=download_as)

    @service_errors()
    def gpu_loads(self) -> list[GPULoad]:
        """The GPUs that the live workers report, each once, machine by machine."""
        workers = self.queue.workers()
        loads = {(worker.host, load.device_id): load for worker in workers for load in worker.gpu_loads}
        return [loads[place] for place in sorted(loads)]

    def health(self) -> Health:
        """The state of queue, store and workers; never raises."""
        return self._health.now()

    @contextmanager
    def _rejections_noted(self, account: Account) -> Iterator[None]:
        """A request that is rejected for its words inside is told to the audit log."""
        try:
            yield
        except ImageGenXError as exc:
            rejected = exc if isinstance(exc, RejectedError) else exc.__cause__
            if isinstance(rejected, RejectedError):
                facts = {"why": str(rejected), "key": account.key_id}
                self.audit.record_often(AuditEvent.REQUEST_REJECTED, account.user_id, **facts)
            raise

    def _new_id(self, account: Account, chosen: str) -> str:
        """Where a new task is kept: the ids that clients choose are each user's own; none of a task made here is."""
        if not chosen:
            return new_task_id()
        known = self.queue.task(chosen) if chosen.startswith("img_") else None
        return chosen if known and known.owner == account.user_id else owned_id(account.user_id, chosen)

    def _sent_before(self, account: Account, task: NewTask) -> Task | None:
        """The caller's task of the same content, if it was sent a little while ago and has a picture, or will have."""
        since_s = time.time() - RETRIED_WITHIN_S
        for known in self.queue.owned(account.user_id, limit=RETRIED_AMONG):
            over = known.status in (TaskStatus.FAILED, TaskStatus.CANCELLED) or known.created_at_s < since_s
            if not over and task.is_like(known):
                return known
        return None

    def _references(self, account: Account, data: Mapping[str, object]) -> References:
        """The pictures that a request names otherwise than by a URL to fetch; 422 if one is not to be had."""
        found = read_references(data, self.links, _OwnPictures(self, account))
        most = self.settings.pictures.max_input_pixels
        for field, reference in found.stored.items():
            if (pixels := pixels_of(reference)) > most:
                raise bad_field(field, f"the picture has {pixels:,} pixels, above the maximum of {most:,}")
        return found

    def _request(self, data: Mapping[str, object], uploads: Mapping[str, str]) -> GenerationRequest:
        check_urls(data, self._url_rules)
        if _names_font(data):
            with suppress(StoreError):  # the fonts that are here will do
                refresh_marks(self.settings)
        request = parse_request(with_references(data, uploads), self.registry)
        self._blocklist.check(request)
        return request

    def _checked(self, found: References, pictures: Mapping[str, bytes]) -> tuple[GenerationRequest, CheckedUploads]:
        """A request, and its pictures, of which none is stored yet."""
        if pictures:  # what else is wrong with it is told before any of them is looked at
            self._request(found.data, {**found.stored, **_placeholders(pictures)})
        uploads = self.uploads.checked(pictures)
        return self._request(found.data, {**found.stored, **uploads.references}), uploads

    def _checked_item(self, account: Account, item: BatchItem) -> tuple[GenerationRequest, CheckedUploads]:
        with named_as(item.field):
            found = self._references(account, item.data)
            return self._checked(found, found.carried)


def _names_font(data: Mapping[str, object]) -> bool:
    """Whether a text mark asks for another font than the built-in one."""
    found: object = data
    for name in ("params", "post_process", "watermark", "font"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return bool(found)


class _OwnPictures:
    """See `OwnPictures`; the caller's key must be one that may read."""

    def __init__(self, service: GatewayService, account: Account) -> None:
        self._service, self._account = service, account

    def key(self, task_id: str, kind: Kind, number: int) -> str:
        """See `OwnPictures`."""
        self._account.require(Scope.READ)
        return self._service.picture_key(self._account, task_id, kind, number)

    def input(self, task_id: str, field: str) -> str:
        """See `OwnPictures`."""
        self._account.require(Scope.READ)
        reference = dict(input_references(self._service.task(self._account, task_id).request)).get(field)
        if not reference:
            raise ServiceError(404, f"Task {shown(task_id)} has no {field}.")
        return str(reference)


def _placeholders(fields: Iterable[str]) -> dict[str, str]:
    """References for pictures that are not stored yet."""
    return dict.fromkeys(fields, f"{STORED}uploads/")


def public_url(settings: Settings) -> str:
    """How clients reach the gateway, as far as the settings say."""
    return settings.gateway.public_url or settings.gateway.local_url


def picture_result(picture: TaskPicture, original_url: str, thumb_url: str) -> dict[str, object]:
    """The `result` of a finished task, as INTERFACES.md §2 names its fields."""
    return {
        "original_url": original_url,
        "thumb_url": thumb_url,
        "resolution": f"{picture.width_px}×{picture.height_px}",
        "format": picture.format,
        "size": picture.size_bytes,
    }


def _url_secret(settings: Settings) -> bytes:
    given = settings.gateway.url_secret.get_secret_value()
    return given.encode() if given else kept_secret(settings.home / "gateway" / "url_secret")


def _without_callback(request: GenerationRequest) -> GenerationRequest:
    """A batch calls back once, when all of it has ended."""
    return request.model_copy(update={"callback_url": None, "callback_events": ()})


def _check_task_id(task_id: str) -> None:
    if not TASK_ID.fullmatch(task_id):
        rule = "must be 1 to 128 of A-Z, a-z, 0-9, '_', '.' and '-', and begin with a letter or digit"
        raise bad_field("task_id", f"{shown(task_id)} {rule}")


def _check_idempotency_key(key: str) -> None:
    if len(key) > MAX_IDEMPOTENCY_KEY or not key.isprintable():
        raise bad_field("Idempotency-Key", f"{shown(key)} must be at most {MAX_IDEMPOTENCY_KEY} printable characters")


def _no_such(what: str, given: str) -> ServiceError:
    return ServiceError(404, f"No {what} {shown(given)} of yours. It never was, or its status has expired.")
