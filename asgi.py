"""`uvicorn asgi:app`: the server, set up by the environment (`TANDEM_MODELS`, …)."""

from service.composition import compose
from service.settings import SettingsError, load_settings

try:
    settings = load_settings()
except SettingsError as exc:
    raise SystemExit(f"tandem: {exc}") from None

app = compose(settings)
