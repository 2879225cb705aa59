"""Message classes of protobuf, made from their definition when they are imported.

Generated code belongs to one version of protobuf; these run with any from 4.25 on, and live in a pool of
their own, so that another package's definition of the same messages may be loaded beside them.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_MESSAGE = re.compile(r"message (\w+) \{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);")
_Field = descriptor_pb2.FieldDescriptorProto


def compile_messages(definition: str, package: str, syntax: str = "proto3") -> dict[str, Any]:
    """Message classes by name, from a small part of the language: plain fields, nothing nested.

    syntax: ``proto2`` keeps a field that was written although it is zero, ``proto3`` leaves it out.

    What arrives in fields that are not named is kept, and written again.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax=syntax)
    for name, body in _MESSAGE.findall(definition):
        message = file.message_type.add(name=name)
        for repeated, kind, field, number in _FIELD.findall(body):
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=int(number), label=label)
            if kind[0].isupper():
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in names
    }
