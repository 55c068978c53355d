from pathlib import Path

from gateway import stubs
from gateway.stubs import imagegenx_pb2 as pb2
from gateway.stubs.generate import generate

COMMITTED = Path(stubs.__file__).parent


def test_the_committed_stubs_are_those_of_the_proto(tmp_path):
    generate(tmp_path)

    made = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert made == {name: (COMMITTED / name).read_text(encoding="utf-8") for name in made}
    assert set(made) == {"imagegenx_pb2.py", "imagegenx_pb2.pyi"}


def shape(message) -> dict[str, tuple[int, str, bool]]:
    """Number, type and whether it is optional or repeated, by field."""
    kinds = {3: "int64", 2: "float", 5: "int32", 8: "bool", 9: "string"}
    return {
        field.name: (
            field.number,
            field.message_type.name if field.message_type else kinds[field.type],
            field.has_presence and not (field.message_type and not field.containing_oneof),
        )
        for field in message.DESCRIPTOR.fields
    }


def test_the_fields_are_those_of_the_contract():
    """INTERFACES.md §3 and what came after it, with True for fields that are `optional` there."""
    text, optional = "string", True
    contract = {
        pb2.SubmitTaskRequest: {
            "task_id": (1, text, False),
            "user_id": (2, text, False),
            "api_key": (3, text, False),
            "model_type": (4, text, False),
            "text": (5, text, False),
            "params": (6, "TaskParams", False),
            "image_url": (7, text, optional),
            "mask_url": (8, text, optional),
            "control_image_url": (9, text, optional),
            "callback_url": (10, text, optional),
            "priority": (11, text, False),
            "controls": (12, "Control", False),
            "metadata": (13, "MetadataEntry", False),
            "callback_events": (14, text, False),
        },
        pb2.Control: {
            "model": (1, text, False),
            "image": (2, text, False),
            "weight": (3, "float", optional),
            "start": (4, "float", False),
            "end": (5, "float", False),
        },
        pb2.TaskParams: {
            "resolution": (1, text, False),
            "steps": (2, "int32", False),
            "cfg_scale": (3, "float", False),
            "sampler": (4, text, False),
            "lora_name": (5, text, optional),
            "lora_weight": (6, "float", False),
            "post_process": (7, "PostProcess", optional),
            "negative_text": (8, text, optional),
            "seed": (9, "int64", optional),
            "strength": (10, "float", False),
            "num_images": (11, "int32", False),
            "schedule": (12, text, False),
            "loras": (13, "Lora", False),
            "control_weight": (14, "float", optional),
            "control_start": (15, "float", False),
            "control_end": (16, "float", False),
            "step_cache": (17, text, False),
        },
        pb2.Lora: {"name": (1, text, False), "weight": (2, "float", optional)},
        pb2.PostProcess: {
            "super_resolution": (1, text, optional),
            "watermark": (2, "Watermark", optional),
            "format": (3, text, False),
            "upscaler": (4, text, False),
        },
        pb2.Watermark: {
            "enable": (1, "bool", False),
            "text": (2, text, False),
            "font": (3, text, False),
            "color": (4, text, False),
            "position": (5, text, False),
            "transparency": (6, "float", False),
        },
        pb2.SubmitTaskResponse: {
            "code": (1, "int32", False),
            "message": (2, text, False),
            "task_id": (3, text, optional),
        },
        pb2.QueryTaskRequest: {"task_id": (1, text, False), "api_key": (2, text, False)},
        pb2.QueryTaskResponse: {
            "code": (1, "int32", False),
            "message": (2, text, False),
            "status": (3, "TaskStatus", optional),
        },
        pb2.TaskStatus: {
            "task_id": (1, text, False),
            "status": (2, text, False),
            "progress": (3, "int32", False),
            "original_url": (4, text, optional),
            "thumb_url": (5, text, optional),
            "error_msg": (6, text, optional),
            "pictures": (7, "Picture", False),
            "metadata": (8, "MetadataEntry", False),
        },
        pb2.QueryGPULoadRequest: {"api_key": (1, text, False)},
        pb2.QueryGPULoadResponse: {
            "code": (1, "int32", False),
            "message": (2, text, False),
            "gpu_loads": (3, "GPULoad", False),
        },
        pb2.GPULoad: {
            "device_id": (1, "int32", False),
            "utilization": (2, "float", False),
            "memory_used": (3, "float", False),
            "memory_total": (4, "float", False),
        },
    }
    assert {message.DESCRIPTOR.full_name: shape(message) for message in contract} == {
        message.DESCRIPTOR.full_name: fields for message, fields in contract.items()
    }


def test_the_service_has_the_methods_of_the_contract():
    service = pb2.DESCRIPTOR.services_by_name["SchedulerService"]
    assert service.full_name == "imagegenx.SchedulerService"
    assert {
        method.name: (method.input_type.name, method.output_type.name, method.client_streaming, method.server_streaming)
        for method in service.methods
    } == {
        **{
            name: (f"{name}Request", f"{name}Response", False, False)
            for name in ("SubmitTask", "QueryTask", "QueryGPULoad")
        },
        "CancelTask": ("QueryTaskRequest", "QueryTaskResponse", False, False),
        "WatchTask": ("QueryTaskRequest", "QueryTaskResponse", False, True),
    }
