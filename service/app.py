"""The Flask application, put together from its blueprints and hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.auth.keys import ApiKeys
from service.auth.token import AdminToken
from service.routes import (
    admin,
    health,
    index,
    metrics,
    openapi,
    overview,
    page,
    tfserving,
    v2,
)
from service.routes import jobs as job_routes
from service.web.access_log import install_request_log
from service.web.application import ConcurrentFlask
from service.web.body_budget import BodyBudget
from service.web.context import SERVING, Serving
from service.web.errors import register_error_handlers
from service.web.inflation import InflationLimits
from service.web.keys import install_keys
from service.web.routing import register_converters
from service.web.runtime_settings import (
    RUNTIME_SETTINGS,
    RuntimeSettings,
    changes_of,
)

if TYPE_CHECKING:
    from inference import Engine
    from service.caching.cache import ResponseCache
    from service.decoding.pool import DecoderPool
    from service.jobs.jobs import Jobs
    from service.payloads.log import PayloadLog
    from service.settings.settings import Settings
    from service.telemetry.sharing import FigureFolder


ROUTES = (
    *(index, health, metrics, openapi, overview, page),
    *(tfserving, v2, job_routes, admin),
)


def create_app(
    engine: Engine,
    settings: Settings,
    decoders: DecoderPool | None = None,
    jobs: Jobs | None = None,
    cache: ResponseCache | None = None,
    figure_folder: FigureFolder | None = None,
    payload_log: PayloadLog | None = None,
) -> ConcurrentFlask:
    """Return the application around `engine`; serve it through `service.bridge`.

    The engine may still be loading; the caller closes it, `decoders`, `jobs`, `cache`
    and `payload_log`. Without `decoders`, bodies of any size are decoded on the event
    loop. Raise `ValueError` if the settings name a file without an admin token, or a
    wrong one of API keys.
    """
    app = ConcurrentFlask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    # `//v1/models` is a wrong URL, not one to redirect.
    app.url_map.merge_slashes = False
    register_converters(app.url_map)
    serving = Serving(
        engine=engine,
        decoders=decoders,
        body_budget=BodyBudget(settings.max_bodies_bytes),
        admin_token=_admin_token(settings),
        jobs=jobs,
        cache=cache,
        figure_folder=figure_folder,
        keys=_api_keys(settings),
        payload_log=payload_log,
        ready_when=settings.ready_when,
        max_answer_bytes=settings.max_answer_bytes,
        inflation=InflationLimits(
            max_bytes=settings.max_inflated_bytes,
            max_ratio=settings.max_inflation_ratio,
        ),
    )
    _install_parts(app, serving, settings)
    for routes in ROUTES:
        app.register_blueprint(routes.bp)

    return app


def _admin_token(settings: Settings) -> AdminToken | None:
    path = settings.admin_token_file
    return None if path is None else AdminToken(path)


def _api_keys(settings: Settings) -> ApiKeys | None:
    path = settings.api_keys_file
    return None if path is None else ApiKeys(path, share=1 / settings.workers)


def _install_parts(app: ConcurrentFlask, serving: Serving, settings: Settings) -> None:
    app.extensions[SERVING] = serving
    overview.install_feed(app)
    changes = changes_of(app, serving)
    app.extensions[RUNTIME_SETTINGS] = RuntimeSettings(settings, changes)
    # Installed first, so that its `after_request` runs last and logs what is sent.
    install_request_log(app)
    register_error_handlers(app)
    if serving.keys is not None:
        install_keys(app, serving.keys)

    # It does nothing for what is answered directly.
    app.plain_hooks.add(v2.log_repository_act)
