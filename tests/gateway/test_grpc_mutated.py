"""Damaged and odd messages over gRPC: each is answered with a code, in time, and none is a failure inside."""

import asyncio
import random
import time

import grpc
import pytest

from gateway.grpc_server import start_grpc
from gateway.stubs import imagegenx_pb2 as pb2
from tests.support.fuzzing import TIMES
from tests.support.open_gateway import close, new_service

MESSAGES = 3000 * TIMES
AT_ONCE, LONGEST_S = 50, 30.0
TEXTS = ("", " ", "a cat", "\0", "長" * 20, "‮\u200b", "http://xn--a/", "http://[/", "http://127.0.0.1/", "-1", "1e999")
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31))
FLOATS = (0.0, -1.0, 1e30, float("nan"), float("inf"))
TYPES = (pb2.SubmitTaskRequest, pb2.QueryTaskRequest, pb2.QueryGPULoadRequest)


@pytest.fixture
def service(tmp_path):
    opened = new_service(tmp_path, gateway={"threads": 4}, queue={"max_waiting": 100})
    yield opened
    close(opened)


def filled(message, dice):
    """The message with some of its fields set, to odd values."""
    for field in message.DESCRIPTOR.fields:
        if dice.random() < 0.4:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[dice.choice(TEXTS)] = dice.choice(TEXTS)
        elif field.message_type:
            value = getattr(message, field.name)
            filled(value.add() if hasattr(value, "add") else value, dice)
        elif hasattr(getattr(message, field.name), "append"):
            getattr(message, field.name).append(dice.choice(TEXTS))
        elif field.cpp_type == field.CPPTYPE_STRING:
            setattr(message, field.name, dice.choice(TEXTS))
        elif field.cpp_type == field.CPPTYPE_FLOAT:
            setattr(message, field.name, dice.choice(FLOATS))
        elif field.cpp_type == field.CPPTYPE_BOOL:
            setattr(message, field.name, dice.random() < 0.5)
        else:
            setattr(message, field.name, dice.choice(NUMBERS))
    return message


def mutated(data, dice):
    """The bytes of a message with a few of them changed, gone or doubled; a third stay as they are."""
    changed = bytearray(data)
    for _ in range(dice.choice((0, 1, 4))):
        place = dice.randrange(len(changed) + 1)
        match dice.randrange(3):
            case 0:
                changed[place : place + 1] = bytes([dice.randrange(256)])
            case 1:
                del changed[place : place + dice.randrange(1, 9)]
            case _:
                changed[place:place] = changed[max(0, place - dice.randrange(1, 40)) : place]
    return bytes(changed)


async def sent(port, messages):
    """(status or code, seconds) of each message."""
    answers = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def send(number, type, data):
            name = type.DESCRIPTOR.name.removesuffix("Request")
            parse = getattr(pb2, f"{name}Response").FromString
            call = channel.unary_unary(f"/imagegenx.SchedulerService/{name}", response_deserializer=parse)
            began_s = time.monotonic()
            try:
                answer = (await call(data, timeout=60)).code
            except grpc.aio.AioRpcError as exc:
                answer = exc.code().name
            answers[number] = answer, time.monotonic() - began_s

        rest = iter(enumerate(messages))

        async def work():
            for number, (type, data) in rest:
                await send(number, type, data)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return [answers[number] for number in range(len(messages))]


def test_no_message_fails_inside_the_gateway_or_hangs(service):
    dice, key = random.Random(20), service.accounts.create("eve", qps=100_000)
    server = start_grpc(service, "127.0.0.1", 0)
    messages = []
    for number in range(MESSAGES):
        message = filled(TYPES[number % 10 % 3 if number % 10 < 3 else 0](), dice)
        message.api_key = key if dice.random() < 0.9 else dice.choice(TEXTS)
        messages.append((type(message), mutated(message.SerializeToString(), dice)))
    try:
        answers = asyncio.run(sent(server.port, messages))
    finally:
        server.stop(0)
    assert {answer for answer, _ in answers} <= {200, 401, 403, 404, 409, 422, 429, 503}
    assert sum(answer == 200 for answer, _ in answers) > 10
    assert max(seconds for _, seconds in answers) < LONGEST_S
