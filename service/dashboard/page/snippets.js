// Calls that run when they are pasted.
import { html } from "./html.js";
import { useRef, useState } from "./vendor/hooks.js";

// The kernel takes no longer word on a command line; shorter ones are read more easily there.
const LONGEST_WORD = 100_000;
const LONGEST_SHOWN = 20_000;
const VARIABLE = "TANDEM_API_KEY";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const curl = (url, json, keyed) => {
  const long = json.length > LONGEST_WORD;
  return [
    `curl -s ${quoted(url)}`,
    ...(keyed ? [`-H "X-API-Key: $${VARIABLE}"`] : []),
    "-H 'Content-Type: application/json'",
    long ? `--data-binary @- <<'END'\n${json}\nEND` : `-d ${quoted(json)}`,
  ].join(" \\\n  ");
};

// A string within a string, since `true` and `null` aren't Python's.
const python = (url, json, keyed) => `import json
${keyed ? "import os\n" : ""}import urllib.request

request = urllib.request.Request(
    ${JSON.stringify(url)},
    data=${JSON.stringify(json)}.encode(),
    headers={"Content-Type": "application/json"${keyed ? `, "X-API-Key": os.environ["${VARIABLE}"]` : ""}},
)
with urllib.request.urlopen(request) as answer:
    print(json.load(answer))`;

// Without `await`, which Node takes in modules alone.
const javaScript = (url, json, keyed) => `fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: { "Content-Type": "application/json"${keyed ? `, "X-API-Key": process.env.${VARIABLE} ?? ""` : ""} },
  body: JSON.stringify(${json}),
})
  .then((answer) => answer.json())
  .then((answer) => console.log(JSON.stringify(answer)));`;

export const SNIPPETS = { curl, Python: python, JavaScript: javaScript };

export function Snippets({ url, body, keyed }) {
  const [chosen, setChosen] = useState("curl");
  const [copied, setCopied] = useState(false);
  const code = useRef(null);
  const text = SNIPPETS[chosen](url, JSON.stringify(body), keyed);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  // Browsers have a clipboard for pages of HTTPS and of this machine alone.
  const select = () => getSelection().selectAllChildren(code.current);
  return html`<section class="card" aria-label="Code">
    <div class="bar">
      <h2>Code</h2>
      <div class="acts" role="group" aria-label="Language">${Object.keys(SNIPPETS).map((name) => html`
        <button type="button" key=${name} aria-pressed=${name === chosen}
          onClick=${() => setChosen(name)}>${name}</button>`)}</div>
      <button type="button" class="copy" onClick=${navigator.clipboard ? copy : select}>
        ${copied ? "Copied" : navigator.clipboard ? "Copy" : "Select"}</button>
    </div>
    ${keyed && html`<p class="hint">It reads your key from the variable ${VARIABLE}.</p>`}
    <pre tabindex="0" ref=${code}>${navigator.clipboard && text.length > LONGEST_SHOWN
      ? `${text.slice(0, LONGEST_SHOWN)}\n… ${text.length} characters in all: copy them` : text}</pre>
  </section>`;
}
