"""A plugin for lmms-eval: ``python -m lmms_eval --model resprune_llava --model_args keep=128 --tasks gqa,pope``.

lmms-eval finds it by the entry-point group ``lmms_eval.models`` and imports the model itself only when it is asked for.
Nothing else of this package needs lmms-eval. How to use it: ``docs/lmms-eval.md``.
"""

from typing import Any

__all__ = ["MODELS", "manifests"]

MODELS = {
    "resprune": "Pruned",
    "resprune_llava": "PrunedLlava",
    "resprune_llava_next": "PrunedLlavaNext",
    "resprune_qwen2_5_vl": "PrunedQwen2_5VL",
}


def manifests() -> list[Any]:
    """What lmms-eval asks an entry point for: the models' names, and where their classes are."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [
        ModelManifest(model_id=name, simple_class_path=f"resprune.lmms.model.{kind}") for name, kind in MODELS.items()
    ]
