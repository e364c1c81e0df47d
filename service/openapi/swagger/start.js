"use strict";

const address = "openapi.json";
const manyTags = 20;

function show(document) {
  SwaggerUIBundle({
    url: address,
    dom_id: "#page",
    // Hundreds of models are shown by name; their calls open with a click.
    docExpansion: document.tags.length > manyTags ? "none" : "list",
    filter: true,
    defaultModelsExpandDepth: -1,
    // Without it the document's address would be sent to another host.
    validatorUrl: null,
  });
}

fetch(address)
  .then((answer) => answer.json())
  // The page itself tells of a document that it can't have.
  .catch(() => ({ tags: [] }))
  .then(show);
