"""The order in which calls begin: users in turn, so that nobody waits for all that another has sent."""

import asyncio
from collections import deque


class Turns:
    """Lets one call of each user begin in each round. For one event loop.

    A call costs the loop a fraction of a millisecond wherever it gets by then; without turns, fifty calls of one user
    that have come together are all begun before that of another.

    Args:
        round_s: how long a round takes at least; 0 is one of the event loop.
    """

    def __init__(self, round_s: float = 0) -> None:
        self._round_s = round_s
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._began: set[str] = set()
        self._goes_round = False

    async def begin(self, user: str) -> None:
        """Return once it is the turn of this call."""
        loop = asyncio.get_running_loop()
        if not self._goes_round:
            self._goes_round = True
            loop.call_later(self._round_s, self._go_round, loop)
        if user not in self._began:
            self._began.add(user)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        await turn

    def _go_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._began = {user for user in list(self._waiting) if self._let_next_begin(user)}
        self._goes_round = bool(self._began)
        if self._goes_round:
            loop.call_later(self._round_s, self._go_round, loop)

    def _let_next_begin(self, user: str) -> bool:
        """Whether one was waiting whose client has not given up."""
        turns = self._waiting.pop(user)
        while turns:
            turn = turns.popleft()
            if not turn.done():
                turn.set_result(None)
                if turns:
                    self._waiting[user] = turns
                return True
        return False
