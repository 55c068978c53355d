"""`imagegenx user delete`: everything that is kept of a user."""

from functools import partial

from configs.settings import load_settings
from foundation.errors import ImageGenXError
from imagegenx_cli.keys import record_revoked
from imagegenx_cli.terminal import say
from resources.accounts import open_accounts
from resources.audit import open_audit, this_person
from resources.open_store import open_store
from resources.queue import open_queue
from resources.user_data import UserData


class NotAllDeletedError(ImageGenXError):
    """A worker still has something."""


def delete_user(user: str) -> None:
    """Revoke a user's keys, and delete tasks, pictures and history."""
    settings = load_settings()
    accounts, queue = open_accounts(settings), open_queue(settings)
    try:
        keys = [account.key_id for account in accounts.list() if account.user_id == user]
        for key in keys:
            accounts.revoke(key)
            record_revoked(settings, key)
        deed = partial(open_audit(settings).deed, who=this_person(), keys=len(keys))
        deleted = UserData(open_store(settings.store), queue, deed).delete(user)
    finally:
        accounts.close()
        queue.close()
    say(f"user {user}: {len(keys)} keys revoked, {deleted.tasks} tasks and {deleted.pictures} pictures deleted")
    if deleted.left:
        raise NotAllDeletedError(
            f"{deleted.left} tasks of user {user} are cancelled, but workers still have them. Run this again later."
        )
