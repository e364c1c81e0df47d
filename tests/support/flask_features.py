"""An application that uses a little of everything that Flask has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    flash,
    g,
    jsonify,
    make_response,
    redirect,
    request,
    session,
    stream_with_context,
    url_for,
)
from werkzeug.routing import BaseConverter

if TYPE_CHECKING:
    from collections.abc import Iterator


class ListConverter(BaseConverter):
    """Gives a value that a view may change."""

    cacheable = True

    def to_python(self, value: str) -> list[str]:
        return value.split("+")

    def to_url(self, value: list[str]) -> str:
        return "+".join(value)


def fill(app: Flask) -> Flask:
    app.url_map.converters["list"] = ListConverter
    add_routes(app)
    add_answers(app)
    add_more_answers(app)
    add_requests(app)
    add_hooks(app)
    app.register_blueprint(part())
    return app


def add_routes(app: Flask) -> None:
    @app.get("/int/<int:number>")
    async def number(number: int) -> dict[str, Any]:
        return {"number": number, "endpoint": request.endpoint}

    @app.get("/path/<path:rest>")
    def path(rest: str) -> str:
        return f"{rest} {request.path} {request.url_rule} {request.view_args}"

    @app.get("/list/<list:words>")
    async def words(words: list[str]) -> list[str]:
        words.append("changed")
        assert request.view_args is not None
        request.view_args["more"] = 1
        return words

    @app.route("/page/", defaults={"page": 1}, methods=["GET", "POST"])
    @app.route("/page/<int:page>", methods=["GET", "POST"])
    async def page(page: int) -> str:
        return f"page {page} {request.method}"

    @app.get("/any/<any(a, b):which>/<float:x>/<uuid:u>")
    async def which(which: str, x: float, u: Any) -> str:
        return f"{which} {x!r} {u!r}"

    app.add_url_rule("/old", redirect_to="/int/7", endpoint="old")


def add_answers(app: Flask) -> None:
    @app.get("/status/<int:code>")
    async def status(code: int) -> tuple[str, int]:
        return "body", code

    @app.get("/headers")
    async def headers() -> Response:
        response = make_response("text", {"X-One": "1", "Content-Location": "/é"})
        response.headers.add("X-Two", "2")
        response.headers.add("X-Two", "3")
        response.set_cookie("name", "value", httponly=True)
        return response

    @app.get("/redirect")
    async def away() -> Any:
        return redirect(url_for("number", number=5, q="é"))

    @app.get("/located")
    async def located() -> Response:
        return Response("x", 201, {"Location": "/int/5"})

    @app.get("/stream")
    async def stream() -> Response:
        def pieces() -> Iterator[str]:
            yield from ("a", "é", request.path)

        return Response(stream_with_context(pieces()), mimetype="text/csv")

    @app.get("/json")
    async def json() -> Response:
        return jsonify(b=1, a=["é"])


def add_more_answers(app: Flask) -> None:
    @app.get("/bytes")
    async def of_bytes() -> Response:
        return app.response_class(b"\x00", content_type="application/json")

    @app.get("/length")
    async def length() -> Response:
        return Response("four", headers={"content-length": "4"})

    @app.get("/etag")
    async def etag() -> Any:
        response = Response("tagged")
        response.add_etag()
        return response.make_conditional(request)

    @app.get("/abort/<int:code>")
    async def aborted(code: int) -> str:
        abort(code)

    @app.get("/fail")
    async def fail() -> str:
        raise KeyError("broken")


def add_requests(app: Flask) -> None:
    @app.post("/echo")
    async def echo() -> Any:
        return {
            "json": request.get_json(silent=True),
            "form": request.form,
            "args": request.args,
            "mimetype": request.mimetype,
            "length": request.content_length,
            "data": request.get_data(as_text=True),
        }

    @app.post("/strict-json")
    async def strict() -> Any:
        return request.json

    @app.post("/lines")
    async def lines() -> Any:
        return [line.decode() for line in request.stream]

    @app.post("/files")
    def files() -> Any:
        file = request.files["f"]
        return [file.filename, file.read().decode(), request.form.get("a")]

    @app.route("/about", methods=["GET", "PUT"])
    async def about() -> Any:
        header = request.headers.get("X-Several")
        urls = [url_for("about"), url_for("number", number=1, _external=True)]
        return [request.host, request.url, request.root_url, header, urls]

    @app.get("/session")
    async def read_session() -> Any:
        return [session.get("name"), session.new, len(session)]

    @app.get("/session/<word>")
    async def write_session(word: str) -> str:
        session["name"] = word
        return "written"

    @app.get("/flash")
    async def flashed() -> str:
        flash("message")
        return "flashed"


def add_hooks(app: Flask) -> None:
    @app.before_request
    def before() -> Any:
        g.seen = ["before"]
        return ("stopped", 202) if "stop" in request.args else None

    @app.before_request
    async def before_async() -> None:
        g.seen.append("async")

    @app.after_request
    def after(response: Response) -> Response:
        response.headers["X-Seen"] = ",".join(g.seen)
        return response

    @app.after_request
    async def after_async(response: Response) -> Response:
        g.seen.append(current_app.name)
        return response

    @app.errorhandler(404)
    async def missing(error: Any) -> Any:
        return {"missing": request.path, "rule": str(request.url_rule)}, 404

    @app.errorhandler(KeyError)
    def failed(error: KeyError) -> Any:
        return f"failed: {error}", 555

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        g.seen.append("teardown")


def part() -> Blueprint:
    blueprint = Blueprint("part", __name__, url_prefix="/part")

    @blueprint.before_request
    def before() -> None:
        g.seen.append(f"part:{request.blueprint}")

    @blueprint.url_value_preprocessor
    def preprocess(endpoint: str | None, values: dict[str, Any] | None) -> None:
        assert values is not None
        g.word = values.pop("word")

    @blueprint.get("/<word>")
    async def word() -> str:
        return f"{g.word} {url_for('.word', word='other')}"

    return blueprint
