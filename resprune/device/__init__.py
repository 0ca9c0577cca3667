"""The ground floor: clocks, memory, threads, and what the processor can do."""

from resprune.device.clock import PrefillTimer, SharedSpan, Span, mark, now_ms
from resprune.device.dtypes import default_dtype, faster_on_cpu
from resprune.device.heap import limit_arenas, trim_heap
from resprune.device.later import Later, sent, sent_home
from resprune.device.memory import PeakMemory, free_bytes, kv_bytes
from resprune.device.offloaded import device_of
from resprune.device.precision import as_written
from resprune.device.processor import described_machine, processor_flags, processor_name, usable_cores
from resprune.device.threads import one_thread

__all__ = [
    "Later",
    "PeakMemory",
    "PrefillTimer",
    "SharedSpan",
    "Span",
    "as_written",
    "default_dtype",
    "described_machine",
    "device_of",
    "faster_on_cpu",
    "free_bytes",
    "kv_bytes",
    "limit_arenas",
    "mark",
    "now_ms",
    "one_thread",
    "processor_flags",
    "processor_name",
    "sent",
    "sent_home",
    "trim_heap",
    "usable_cores",
]
