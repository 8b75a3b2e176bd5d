"""Protocol buffers that no Python package brings: messages declared field by field, from their documentation."""

from collections.abc import Mapping
from types import ModuleType

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_FIELD = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "int64": _FIELD.TYPE_INT64,
    "uint64": _FIELD.TYPE_UINT64,
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}

Fields = Mapping[int, tuple[str, str]]


def declared(package: str, messages: Mapping[str, Fields], imported: tuple[ModuleType, ...] = ()) -> dict[str, type[Message]]:
    """Classes of messages of one package.

    They are in a pool of their own, since another program's module may have registered the real files.

    Args:
        messages: by name; name and type of each field by its number. A type is `int64` and the like, or a message's whole name
            after a dot; `*` after it makes it repeated.
        imported: generated modules whose messages are types of fields.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    for module in imported:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        file.dependency.append(module.DESCRIPTOR.name)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in fields.items():
            label = _FIELD.LABEL_REPEATED if kind.endswith("*") else _FIELD.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            named = {"type_name": kind} if kind.startswith(".") else {}
            message.field.add(name=field, number=number, label=label, type=_KINDS.get(kind, _FIELD.TYPE_MESSAGE), **named)
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}
