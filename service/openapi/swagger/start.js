"use strict";

const ADDRESS = "openapi.json";
// Swagger UI takes ten seconds for the document of three hundred.
const MOST_MODELS = 20;
// The key that was entered on the page of the models, in this tab.
const KEY = sessionStorage.getItem("tandem-api-key");
const HEADERS = KEY ? { "X-API-Key": KEY } : {};

function show(url) {
  SwaggerUIBundle({
    url,
    dom_id: "#page",
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    // Without it the document's address would be sent to another host.
    validatorUrl: null,
    requestInterceptor: (request) => {
      Object.assign(request.headers, HEADERS);
      return request;
    },
  });
}

function showOne(name) {
  show(`${ADDRESS}?model=${encodeURIComponent(name)}`);
}

function choose(names) {
  const choice = document.getElementById("model");
  choice.append(...names.map((name) => new Option(name)));
  choice.onchange = () => showOne(choice.value);
  document.getElementById("choice").hidden = false;
  showOne(choice.value);
}

function start(names) {
  const wanted = new URLSearchParams(location.search).get("model");
  if (wanted) showOne(wanted);
  else if (names.length > MOST_MODELS) choose(names);
  else show(ADDRESS);
}

fetch("v2/models", { headers: HEADERS })
  .then((answer) => answer.json())
  // Swagger UI tells of a server that doesn't answer, or refuses to.
  .catch(() => ({}))
  .then(({ models = [] }) => start(models));
