"""What is wrong with a Redis that answers with an error."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Trouble:
    """Why Redis does not do what it is asked.

    Attributes:
        state: one word for programs, such as `full`.
        text: what is wrong, after the name of the Redis; it names no address and no data.
        remedy: what to do about it.
        elsewhere: whether a new connection may lead to a Redis that works: a failover moves an address to another one.
        needs_operator: whether it stays until a person changes it.
    """

    state: str
    text: str
    remedy: str
    elsewhere: bool = False
    needs_operator: bool = False


_OTHER_PRIMARY = "Promote a replica, or let IMAGEGENX_QUEUE__URL lead to the primary."
_IN_CLUSTER = Trouble(
    "cluster",
    "is part of a Redis Cluster",
    "Let IMAGEGENX_QUEUE__URL lead to a Redis or Valkey of its own, with replicas or without.",
    needs_operator=True,
)

UNREACHABLE: Final = Trouble("unreachable", "cannot be used now", "Start it, or correct IMAGEGENX_QUEUE__URL.")
REFUSED: Final = Trouble(
    "refused",
    "refuses us",
    "Set IMAGEGENX_QUEUE__URL to a user and password that may use our keys, scripts and publish.",
    needs_operator=True,
)
UNKNOWN_COMMAND: Final = Trouble(
    "unsuitable", "refuses a command", "Redis 6.2 or newer, or Valkey, is needed.", needs_operator=True
)

TROUBLES: Final = {
    "OOM": Trouble(
        "full",
        "is full: its maxmemory is used up, and it takes no more",
        "Raise maxmemory there. Nothing that was accepted is lost, and what has ended makes room when it expires.",
    ),
    "MISCONF": Trouble(
        "not_persisting",
        "cannot write to its disk, and so takes no more",
        "Make room on that disk, or repair it; the log of Redis says which file it is about.",
    ),
    "READONLY": Trouble("read_only", "is a replica, which takes nothing", _OTHER_PRIMARY, elsewhere=True),
    "LOADING": Trouble("loading", "loads its data", "Wait until it has loaded.", elsewhere=True),
    "MASTERDOWN": Trouble("read_only", "is a replica without its primary", _OTHER_PRIMARY, elsewhere=True),
    "UNBLOCKED": Trouble("read_only", "becomes a replica, which takes nothing", _OTHER_PRIMARY, elsewhere=True),
    "max number of clients reached": Trouble(
        "crowded", "has as many clients as it may", "Raise maxclients there, or end what holds its connections."
    ),
    "NOREPLICAS": Trouble(
        "no_replicas",
        "has fewer replicas than its min-replicas-to-write, and so takes no more",
        "Start its replicas, or let IMAGEGENX_QUEUE__URL lead to the primary.",
        elsewhere=True,
    ),
    "BUSY": Trouble("busy", "is held up by a script", "End that script with SCRIPT KILL, or restart Redis."),
    "NOSCRIPT": Trouble("restarted", "has lost our scripts in mid-call", "Try again.", elsewhere=True),
    "CLUSTERDOWN": Trouble(
        "cluster_down", "has lost part of its cluster", "Bring the cluster's other nodes back.", elsewhere=True
    ),
    "CROSSSLOT": _IN_CLUSTER,
    "MOVED": _IN_CLUSTER,
    "ASK": _IN_CLUSTER,
    "TRYAGAIN": _IN_CLUSTER,
    "NOAUTH": REFUSED,
    "WRONGPASS": REFUSED,
    "NOPERM": REFUSED,
}
"""By the code with which Redis begins an error, or what it says instead of one."""

_CODE = re.compile(rf"(?:^|: )-?({'|'.join(TROUBLES)})\b")
"""At the beginning; Redis 6.2 puts what a script met after the script's name and line, with a minus sign."""


def trouble_of(exc: Exception) -> Trouble:
    """What an error of redis-py, or of the network, is about.

    redis-py takes the codes it knows away from the texts and says them by its classes; it leaves the others, and those
    in the midst of a text.
    """
    from redis import exceptions as redis

    if code := _CODE.search(str(exc)):
        return TROUBLES[code[1]]
    match exc:
        case redis.AuthenticationError() | redis.NoPermissionError() | redis.AuthorizationError():
            return REFUSED
        case redis.OutOfMemoryError():
            return TROUBLES["OOM"]
        case redis.ReadOnlyError():
            return TROUBLES["READONLY"]
        case redis.BusyLoadingError():
            return TROUBLES["LOADING"]
        case redis.MasterDownError():
            return TROUBLES["MASTERDOWN"]
        case redis.ClusterDownError():
            return TROUBLES["CLUSTERDOWN"]
        case redis.NoScriptError():
            return TROUBLES["NOSCRIPT"]
        case redis.ClusterError() | redis.AskError() | redis.TryAgainError() | redis.ClusterCrossSlotError():
            return _IN_CLUSTER
        case redis.ResponseError():
            return UNKNOWN_COMMAND
    return UNREACHABLE
