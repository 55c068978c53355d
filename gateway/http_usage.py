"""What a caller has used, what that costs, and what is left: GET /api/v1/usage."""

from collections.abc import Mapping

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from gateway import documentation as docs
from gateway.answers import answer
from gateway.budgets import Limit, Period, day, month, rate_limit_headers
from gateway.caller import caller_key
from gateway.errors import service_errors
from gateway.http_face import HttpFace, known_query
from resources.accounts import Account, Scope
from resources.queue import OwnerUsage


def usage_routes(face: HttpFace) -> APIRouter:
    """The route of this call."""
    service = face.service

    @service_errors()
    def ask(key: str) -> tuple[Account, OwnerUsage, list[Limit]]:
        account = service.authenticate(key, Scope.READ, Scope.SUBMIT)
        return account, service.queue.used(account.user_id), service.budgets.limits(account)

    async def usage(request: Request) -> Response:
        """Your pictures, GPU seconds and bytes of this day and month (UTC), what they cost, and your limits."""
        account, used, limits = await face.call(ask, caller_key())
        settings = service.settings.usage
        data = {
            "user_id": account.user_id,
            "day": _within(used, day(), settings.price_per_gpu_s),
            "month": _within(used, month(), settings.price_per_gpu_s),
            "open_pictures": used.open,
            "limits": [_limit(limit) for limit in limits],
            "price_per_gpu_s": settings.price_per_gpu_s,
            "currency": settings.currency,
        }
        return answer(200, "ok", data, {"Cache-Control": "no-store", **rate_limit_headers(limits)})

    router = APIRouter(tags=["usage"], dependencies=[docs.KEY, Depends(known_query)])
    router.add_api_route("/api/v1/usage", usage, methods=["GET"], **docs.described(docs.UsageState))
    return router


def _within(usage: OwnerUsage, period: Period, price_per_gpu_s: float) -> Mapping[str, object]:
    used = usage.within(period.first, period.end)
    cost = round(price_per_gpu_s * used.gpu_s, 6)
    return {"pictures": used.pictures, "gpu_s": used.gpu_s, "bytes": used.bytes, "cost": cost}


def _limit(limit: Limit) -> Mapping[str, object]:
    return {
        "name": limit.name,
        "limit": limit.most,
        "used": limit.used,
        "asked": limit.asked,
        "left": limit.left,
        "soft_reached": limit.is_soft_reached,
        "ends_in_s": limit.period.ends_in_s,
    }
