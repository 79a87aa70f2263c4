"""Qwen-Audio in plain PyTorch: load a model, chat about audio, run tagged tasks.

What is public is named here and handed out late, so that `import qwen_audio` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen_audio.audio import AudioClip, read_audio
    from qwen_audio.chat import ChatSession
    from qwen_audio.config import GenerationOptions
    from qwen_audio.engine import Engine, Reply, load
    from qwen_audio.errors import QwenAudioError
    from qwen_audio.prompt import Message, Prompt, render_chat, render_task
    from tag_schema.prefix import TagPrefix
    from tag_schema.tasks import prefix_for

__all__ = [
    "AudioClip",
    "ChatSession",
    "Engine",
    "GenerationOptions",
    "Message",
    "Prompt",
    "QwenAudioError",
    "Reply",
    "TagPrefix",
    "load",
    "prefix_for",
    "read_audio",
    "render_chat",
    "render_task",
]

_ROOMS = {
    "qwen_audio.audio": ("AudioClip", "read_audio"),
    "qwen_audio.chat": ("ChatSession",),
    "qwen_audio.config": ("GenerationOptions",),
    "qwen_audio.engine": ("Engine", "Reply", "load"),
    "qwen_audio.errors": ("QwenAudioError",),
    "qwen_audio.prompt": ("Message", "Prompt", "render_chat", "render_task"),
    "tag_schema.prefix": ("TagPrefix",),
    "tag_schema.tasks": ("prefix_for",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the room of a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'qwen_audio' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names besides what is loaded."""
    return sorted({*globals(), *__all__})
