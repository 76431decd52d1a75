"""Writes `events` beside this file, by TensorBoard's own writer and messages (pip install tensorboard==2.21.0)."""

import pathlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

TIME = 1_700_000_000.5
text = Summary.Value(
    tag="spec",
    tensor=TensorProto(
        dtype=7,
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        string_val=[("# ü\n\n" * 40).encode()],
    ),
    metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
)


def scalars(**values):
    return Summary(value=[Summary.Value(tag=tag.replace("__", "/"), simple_value=value) for tag, value in values.items()])


events = [
    Event(wall_time=TIME, file_version="brain.Event:2"),
    Event(wall_time=TIME, step=300, session_log=SessionLog(status=SessionLog.START)),
    Event(wall_time=TIME, summary=Summary(value=[text])),
    Event(wall_time=TIME, step=300, summary=scalars(loss__train=0.125, loss__validation=0.3)),
    Event(wall_time=1_700_000_000.501, step=1 << 40, summary=scalars(loss__train=-1e-9)),
]
with open(pathlib.Path(__file__).with_name("events"), "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    writer.flush()
