"""The server for `uvicorn asgi:app`, configured by `TANDEM_…` variables."""

from service.composition import compose
from service.settings.settings import SettingsError, load_settings
from service.telemetry.logs import duplicate_stderr

try:
    settings = load_settings()
    duplicate_stderr()
    app = compose(settings)
except SettingsError as exc:
    raise SystemExit(f"tandem: {exc}") from None
