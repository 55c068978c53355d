"""A client of the gRPC face, as generated code would be: each call of the proto by its name."""

import grpc
from google.protobuf.message_factory import GetMessageClass

from gateway.stubs import imagegenx_pb2 as pb2

SERVICE = pb2.DESCRIPTOR.services_by_name["SchedulerService"]


class SchedulerServiceStub:
    """The calls over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        for method in SERVICE.methods:
            kind = channel.unary_stream if method.server_streaming else channel.unary_unary
            call = kind(
                f"/{SERVICE.full_name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, call)
