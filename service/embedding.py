"""Names for applications of others that serve models beside routes of their own."""

from service.bridge.bridge import Bridge
from service.composition import compose
from service.routes.job_submission import predict_later
from service.settings.settings import Settings, SettingsError, load_settings
from service.web.application import ConcurrentFlask
from service.web.context import current_engine

__all__ = [
    "Bridge",
    "ConcurrentFlask",
    "Settings",
    "SettingsError",
    "compose",
    "current_engine",
    "load_settings",
    "predict_later",
]
