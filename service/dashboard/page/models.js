// All models: totals, charts, a table to search, sort and page through, and jobs.
import { cancelJob } from "./acts.js";
import { Chart } from "./charts.js";
import { ago, bytes, seconds, short, stateOf } from "./format.js";
import { Share, html, modelPage } from "./html.js";
import { useState } from "./vendor/hooks.js";

const PAGE = 50;
const COLUMNS = [
  { title: "Model", of: (row) => row.name },
  { title: "State", of: (row) => row.state },
  { title: "Signature", of: (row) => row.inputs ?? "" },
  { title: "Format", of: (row) => row.format ?? "" },
  { title: "Requests/s", of: (row) => row.requests_per_second ?? -1, number: true },
  { title: "p50", of: (row) => row.p50 ?? -1, number: true },
  { title: "p99", of: (row) => row.p99 ?? -1, number: true },
  { title: "Queue", of: (row) => (row.waiting ?? 0) + (row.running ?? 0), number: true },
  { title: "Memory", of: (row) => row.memory_bytes ?? 0, number: true },
  { title: "Last use", of: (row) => row.last_used ?? 0, number: true },
];

const rowsOf = (models) =>
  models.flatMap(({ name, versions }) =>
    versions.map((version) => ({
      ...version, name, id: `${name}/${version.version}`,
      state: stateOf(version), several: versions.length > 1,
    })));

export function arrange(rows, { text, state, column, down }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const { of } = COLUMNS[column];
  const kept = rows.filter((row) => {
    const all = `${row.name} ${row.state} ${row.labels.join(" ")} ${row.format ?? ""} `
      + `${row.inputs ?? ""}`;
    const inText = words.every((word) => all.toLowerCase().includes(word));
    return inText && (!state || row.state === state);
  });
  const order = (a, b) => (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0);
  return kept.sort((a, b) => (down ? order(b, a) : order(a, b)));
}

export function Overview({ document, admin }) {
  const { server, models, jobs, history } = document;
  return html`
    <h1 class="unseen">Models</h1>
    ${server && html`<${Problems} server=${server} />
      <${Charts} server=${server} history=${history} />`}
    <${Table} models=${models} budget=${server?.memory_budget_bytes} />
    ${jobs && html`<${Jobs} jobs=${jobs} admin=${admin} />`}
    ${server && html`<footer>Tandem ${server.version} · rates and latencies are of the last ten
      seconds</footer>`}
  `;
}

function Problems({ server }) {
  const told = [...server.problems];
  if (server.repository_error) {
    told.unshift(`The model repository can't be read: ${server.repository_error}`);
  }
  return told.length
    ? html`<section class="problems" aria-label="Problems">
        <ul>${told.slice(0, 20).map((text) => html`<li key=${text}>${text}</li>`)}</ul>
        ${told.length > 20 && html`<p>and ${told.length - 20} more</p>`}
      </section>`
    : null;
}

function Charts({ server, history }) {
  const memory = `${bytes(server.memory_bytes)} of ${bytes(server.memory_budget_bytes)}`;
  const errors = server.errors_per_second
    ? `, ${short(server.errors_per_second)} of them refused or failed` : "";
  const line = (name, stroke, fill) => ({ name, stroke, fill });
  return html`<div class="tiles">
    <${Chart} title="Requests" now=${`${short(server.requests_per_second)} a second${errors}`}
      history=${history} format=${short}
      series=${[line("requests_per_second", "--accent", "--wash"),
                { name: "errors_per_second", stroke: "--bad", sparse: true }]} />
    <${Chart} title="Latency"
      now=${`p50 ${seconds(server.p50)}, p99 ${seconds(server.p99)}`}
      history=${history} format=${seconds}
      series=${[line("p50", "--accent"), line("p99", "--warm")]} />
    <${Chart} title="Memory of models" now=${memory} history=${history} format=${bytes}
      binary
      series=${[line("memory_bytes", "--accent", "--wash")]} />
    <${Chart} title="Batches"
      now=${server.batch_rows ? `${short(server.batch_rows)} rows each` : "none just now"}
      history=${history} format=${short}
      series=${[line("batch_rows", "--accent", "--wash")]} />
  </div>`;
}

// What is looked for stands in the URL, so that it can be loaded again and passed on.
function viewOf(search) {
  const asked = new URLSearchParams(search);
  const column = COLUMNS.findIndex(({ title }) => title === asked.get("sort"));
  return {
    text: asked.get("search") ?? "",
    state: asked.get("state") ?? "",
    column: Math.max(0, column),
    down: asked.get("order") === "down",
    page: Math.max(0, Number.parseInt(asked.get("page") ?? "1", 10) - 1 || 0),
  };
}

function searchOf({ text, state, column, down, page }) {
  const asked = Object.entries({
    search: text, state, sort: column ? COLUMNS[column].title : "",
    order: down ? "down" : "", page: page ? String(page + 1) : "",
  }).filter(([, value]) => value);
  return asked.length ? `?${new URLSearchParams(asked)}` : location.pathname;
}

function Table({ models, budget }) {
  const [view, setView] = useState(() => viewOf(location.search));
  const change = (part) => {
    const next = { ...view, page: 0, ...part };
    history.replaceState(null, "", searchOf(next));
    setView(next);
  };
  const rows = rowsOf(models);
  const kept = arrange(rows, view);
  const pages = Math.max(1, Math.ceil(kept.length / PAGE));
  const at = Math.min(view.page, pages - 1);
  const states = [...new Set([...rows.map((row) => row.state), view.state])].sort().filter(Boolean);
  const sort = (column) =>
    change({ column, down: view.column === column ? !view.down : !!COLUMNS[column].number });

  return html`<section aria-label="Models">
    <div class="bar">
      <input type="search" aria-label="Search models" placeholder="Search models"
        value=${view.text} onInput=${(event) => change({ text: event.target.value })} />
      <select aria-label="State" value=${view.state} onChange=${(event) => change({ state: event.target.value })}>
        <option value="">all states</option>
        ${states.map((state) => html`<option key=${state} value=${state}>${state}</option>`)}
      </select>
      <p class="count" role="status">${kept.length === rows.length
        ? `${rows.length} version${rows.length === 1 ? "" : "s"} of ${models.length} model${models.length === 1 ? "" : "s"}`
        : `${kept.length} of ${rows.length} versions`}</p>
    </div>
    <div class="scroll">
    <table>
      <thead><tr>${COLUMNS.map(({ title, number }, column) => html`
        <th key=${title} scope="col" class=${number ? "number" : ""}
          aria-sort=${view.column !== column ? "none" : view.down ? "descending" : "ascending"}>
          <button type="button" onClick=${() => sort(column)}>${title}</button>
        </th>`)}</tr></thead>
      <tbody>${kept.slice(at * PAGE, (at + 1) * PAGE).map((row) =>
        html`<${Row} key=${row.id} row=${row} budget=${budget} />`)}</tbody>
    </table>
    </div>
    ${!kept.length && html`<p class="empty">${rows.length
      ? "No model is like that."
      : "There is no model yet: put a model file into the repository."}</p>`}
    ${pages > 1 && html`<nav class="pages" aria-label="Pages of models">
      <button type="button" disabled=${at === 0} onClick=${() => change({ page: at - 1 })}>Back</button>
      <span>${at + 1} of ${pages}</span>
      <button type="button" disabled=${at === pages - 1}
        onClick=${() => change({ page: at + 1 })}>Next</button>
    </nav>`}
  </section>`;
}

function Row({ row, budget }) {
  const reason = row.error ?? row.update_error;
  const resident = row.memory_bytes ?? 0;
  const none = (value) => (value ? "" : " none");
  return html`<tr class=${reason ? "told" : ""}>
    <th scope="row" data-title="Model">
      <a href=${modelPage(row.name)}>${row.name}</a>
      ${(row.several || row.version !== 1) && html` <span class="chip">v${row.version}</span>`}
      ${row.labels.map((label) => html` <span class="chip label" key=${label}>${label}</span>`)}
      ${row.pinned && html` <span class="chip">pinned</span>`}
    </th>
    <td data-title="State">
      <span class=${`state ${row.state}`}>${row.state}${row.stage && ` · ${row.stage}`}</span>
    </td>
    <td data-title="Signature" class=${`signature${none(row.inputs)}`}>
      ${row.inputs && html`<code title=${row.inputs}>${row.inputs}</code>`}
      ${row.outputs && html`<code title=${row.outputs}>→ ${row.outputs}</code>`}
    </td>
    <td data-title="Format" class=${none(row.format)}>${row.format ?? "–"}</td>
    <td data-title="Requests/s" class="number">${short(row.requests_per_second)}
      ${row.errors_per_second > 0 && html`<br /><span class="bad">
        ${short(row.errors_per_second)} failed</span>`}</td>
    <td data-title="p50" class=${`number${none(row.p50)}`}>${seconds(row.p50)}</td>
    <td data-title="p99" class=${`number${none(row.p99)}`}>${seconds(row.p99)}</td>
    <td data-title="Queue" class=${`number${none(row.waiting || row.running)}`}>${row.waiting || row.running
      ? `${row.waiting} + ${row.running}` : "–"}</td>
    <td data-title="Memory" class=${`number${none(resident)}`}>
      ${resident ? bytes(resident) : "–"}
      ${resident > 0 && budget > 0 && html`<${Share} of=${resident} most=${budget}
        label=${`${(100 * resident / budget).toPrecision(2)} % of the budget`} />`}
    </td>
    <td data-title="Last use" class="number">${ago(row.last_used)}</td>
  </tr>
  ${reason && html`<tr class="why"><td colspan=${COLUMNS.length}>
    ${row.error ? "" : "Its present files aren't served: "}${reason}</td></tr>`}`;
}

function Jobs({ jobs, admin }) {
  const counts = Object.entries(jobs.counts).filter(([, count]) => count);
  if (!counts.length) return null;
  return html`<section class="jobs" aria-label="Jobs">
    <h2>Jobs</h2>
    <p>${counts.map(([status, count]) => `${count} ${status}`).join(" · ")}</p>
    <ul>${jobs.active.map((job) => html`<li key=${job.id}>
      <a href=${modelPage(job.model)}>${job.model}</a>
      <span class="chip">${job.status}</span>
      <progress max=${job.progress.total || 1} value=${job.progress.done}
        aria-label=${`Progress of job ${job.id}`}></progress>
      <span>${job.progress.done} of ${job.progress.total} ${job.progress.unit}</span>
      <code>${job.id}</code>
      <button type="button" aria-label=${`Cancel job ${job.id}`}
        onClick=${() => admin.ask(cancelJob(job))}>Cancel</button>
    </li>`)}</ul>
  </section>`;
}
