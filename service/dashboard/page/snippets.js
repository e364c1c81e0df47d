// Calls that run when they are pasted.
import { html } from "./html.js";
import { useState } from "./vendor/hooks.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export const SNIPPETS = {
  curl: (url, json) =>
    `curl -s ${quoted(url)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(json)}`,
  // A string within a string, since `true` and `null` aren't Python's.
  Python: (url, json) => `import json
import urllib.request

request = urllib.request.Request(
    ${JSON.stringify(url)},
    data=${JSON.stringify(json)}.encode(),
    headers={"Content-Type": "application/json"},
)
with urllib.request.urlopen(request) as answer:
    print(json.load(answer))`,
  JavaScript: (url, json) => `const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(${json}),
});
console.log(await answer.json());`,
};

export function Snippets({ url, body }) {
  const [chosen, setChosen] = useState("curl");
  const [copied, setCopied] = useState(false);
  const text = SNIPPETS[chosen](url, JSON.stringify(body));
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<section class="card" aria-label="Code">
    <div class="bar">
      <h2>Code</h2>
      <div class="acts" role="group" aria-label="Language">${Object.keys(SNIPPETS).map((name) => html`
        <button type="button" key=${name} aria-pressed=${name === chosen}
          onClick=${() => setChosen(name)}>${name}</button>`)}</div>
      ${navigator.clipboard && html`<button type="button" class="copy" onClick=${copy}>
        ${copied ? "Copied" : "Copy"}</button>`}
    </div>
    <pre tabindex="0">${text}</pre>
  </section>`;
}
