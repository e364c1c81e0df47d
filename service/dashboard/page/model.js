// One model: how it does, what it takes, how it was compiled, and a way to try it.
import { ModelActs } from "./admin.js";
import { API_KEY, call, good } from "./api.js";
import { bytes, imageSteps, seconds, shape, short, stateOf } from "./format.js";
import { ROOT, html } from "./html.js";
import { Snippets } from "./snippets.js";
import { TryIt } from "./try.js";
import { useEffect, useState } from "./vendor/hooks.js";

function useReport(name, version) {
  const [report, setReport] = useState(null);
  const [error, setError] = useState("");
  // It is read anew when the version or its state changes.
  const key = version && [version.version, version.state, version.error, version.concurrency].join("/");

  useEffect(() => {
    if (!version) return;
    const url = `v1/models/${encodeURIComponent(name)}/versions/${version.version}/report`;
    let wanted = true;
    const show = (answer, problem) => {
      if (!wanted) return;
      setReport(answer);
      setError(problem);
    };
    call(url)
      .then(good)
      .then(async (response) => show(await response.json(), ""))
      .catch((problem) => show(null, problem.message));
    return () => { wanted = false; };
  }, [key]);

  return { report, error };
}

export function ModelPage({ name, document, admin }) {
  const model = document.models.find((each) => each.name === name);
  const [chosen, setChosen] = useState(null);
  const versions = model?.versions ?? [];
  const version = versions.find((each) => each.version === chosen) ?? versions.at(-1);
  const { report, error } = useReport(name, version);
  useEffect(() => { window.document.title = `${name} · Tandem`; }, []);

  if (!version) {
    return html`<h1>${name}</h1>
      <p class="empty">There is no model of this name.
      <a href=${ROOT}>All models</a></p>`;
  }

  const reason = version.error ?? version.update_error;
  return html`
    <div class="title">
      <h1>${name}</h1>
      <span class=${`state ${stateOf(version)}`}>${stateOf(version)}
        ${version.stage && ` · ${version.stage}`}</span>
      ${version.labels.map((label) => html`<span class="chip label" key=${label}>${label}</span>`)}
      ${version.pinned && html`<span class="chip">pinned</span>`}
      ${versions.length > 1 && html`<select aria-label="Version" value=${version.version}
        onChange=${(event) => setChosen(Number(event.target.value))}>
        ${versions.map((each) => html`<option key=${each.version} value=${each.version}>
          version ${each.version}</option>`)}
      </select>`}
      ${document.server?.admin && html`<${ModelActs} admin=${admin} name=${name}
        version=${version} />`}
    </div>
    ${reason && html`<section class="problems" aria-label="Reason">
      <p>${version.error ? "" : "Its present files aren't served: "}${reason}</p></section>`}
    ${document.server && html`<${Live} version=${version} />`}
    ${error && html`<p class="error" role="alert">${error}</p>`}
    ${report?.signatures.length > 0 && html`<${Use} key=${version.version} report=${report}
      several=${versions.length > 1} />`}
  `;
}

function Live({ version }) {
  const figures = [
    ["Requests/s", short(version.requests_per_second)],
    ["Errors/s", short(version.errors_per_second)],
    ["p50", seconds(version.p50)],
    ["p99", seconds(version.p99)],
    ["Waiting", short(version.waiting)],
    ["Running", short(version.running)],
    ["Rows a batch", short(version.batch_rows)],
    ["Memory", version.memory_bytes ? bytes(version.memory_bytes) : "not in memory"],
  ];
  return html`<dl class="live-figures">${figures.map(([term, value]) => html`
    <div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// What is called: one signature, by the form and in the snippets.
function Use({ report, several }) {
  const first = report.signatures.find((each) => each.name === report.default_signature);
  const [name, setName] = useState((first ?? report.signatures[0]).name);
  const [body, setBody] = useState(null);
  const signature = report.signatures.find((each) => each.name === name);
  const place = several ? `/versions/${report.version}` : "";
  const path = `v1/models/${encodeURIComponent(report.name)}${place}:predict`;
  const shown = body ?? signature.example;

  return html`
    ${report.signatures.length > 1 && html`<div class="bar"><label>Signature
      <select value=${name} onChange=${(event) => {
        setName(event.target.value);
        setBody(null);
      }}>${report.signatures.map((each) => html`<option key=${each.name}
        value=${each.name}>${each.name}</option>`)}</select></label></div>`}
    <div class="columns">
      <${TryIt} key=${name} report=${report} signature=${signature} path=${path}
        onBody=${setBody} />
      <div class="stack">
        <${SignatureCard} signature=${signature} left=${report.left_out} />
        ${shown && html`<${Snippets} url=${ROOT + path} body=${shown} keyed=${!!API_KEY} />`}
        <${Report} report=${report} />
      </div>
    </div>`;
}

function Tensors({ title, tensors }) {
  return html`<h3>${title}</h3><ul class="tensors">${tensors.map((each) => html`
    <li key=${each.name}><code>${each.name}: ${each.kind ?? ""} ${each.dtype}${shape(each.shape)}</code>
      ${!each.required && html` <span class="chip">optional</span>`}
      ${each.on_request && html` <span class="chip">on request</span>`}</li>`)}</ul>`;
}

function SignatureCard({ signature, left }) {
  return html`<section class="card" aria-label="Signature">
    <h2>Signature <code>${signature.name}</code></h2>
    <${Tensors} title="Inputs" tensors=${signature.inputs} />
    <${Tensors} title="Outputs" tensors=${signature.outputs} />
    <p>${signature.batchable
      ? "Rows of several requests are joined into one call."
      : `Requests aren't joined: ${signature.batchable_reason}`}</p>
    ${Object.entries(left).map(([name, why]) => html`<p key=${name}>
      <code>${name}</code> can't be served: ${why}</p>`)}
  </section>`;
}

function Report({ report }) {
  const told = report.report;
  if (!told) return null;
  const gap = told.largest_difference;
  const made = Object.entries(told.compiled_with).map((each) => each.join(" ")).join(", ");
  const facts = [
    ["Format", `${report.format}, written by ${report.writer}`],
    ["File", `${bytes(told.source_bytes)}${report.integrity ? `, ${report.integrity}` : ""}`],
    ["SHA-256", told.source_sha256 && html`<code>${told.source_sha256}</code>`],
    ["Optimisation", told.optimization],
    ["Compared with the source", gap == null
      ? "not compared: no sample ran"
      : gap === 0 ? "no difference" : `largest difference ${Number(gap).toPrecision(2)}`],
    ["Compiled", `in ${seconds(told.compile_seconds)}${made ? `, with ${made}` : ""}`],
    ["Loaded", report.load_seconds == null ? "" : `in ${seconds(report.load_seconds)}`],
    ["Calls at a time", report.concurrency],
    ["Rows a batch, at most", Object.values(told.max_rows).join(", ")],
    ["Queue, at most", told.max_queue],
    ["Time limit", seconds(told.timeout_seconds)],
    ["Predictions are jobs", told.asynchronous ? "yes, unless the client waits" : ""],
    ["Answers are given again for", told.cache_seconds && seconds(told.cache_seconds)],
    ["Classes", told.classes.length ? `${told.classes.length} names` : ""],
    ["Images", imageSteps(told.preprocessing)],
  ];
  return html`<section class="card" aria-label="Report">
    <h2>Report</h2>
    <dl class="facts">${facts.filter(([, value]) => value || value === 0).map(
      ([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>
    ${told.notes.length > 0 && html`<ul>${told.notes.map((note) =>
      html`<li key=${note}>${note}</li>`)}</ul>`}
    ${told.layers.length > 0 && html`<details><summary>${told.layers.length} layers</summary>
      <ul class="tensors">${told.layers.map((layer) => html`<li key=${layer.name}>
        <code>${layer.name} ${shape(layer.shape)}</code></li>`)}</ul></details>`}
  </section>`;
}
