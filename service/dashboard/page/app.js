// The page: one script for the list of models and for each model's own page.
import { Admin, Dialogs, useAdmin } from "./admin.js";
import { API_KEY, changeApiKey } from "./api.js";
import { useOverview } from "./feed.js";
import { ROOT, html } from "./html.js";
import { KeyForm } from "./key.js";
import { ModelPage } from "./model.js";
import { Overview } from "./models.js";
import { render } from "./vendor/preact.js";

const path = location.pathname.slice(new URL(ROOT).pathname.length);
const found = /^models\/([^/]+)$/.exec(path);
const NAME = found && decodeURIComponent(found[1]);

function wordOf({ live, document, limits, refusal }) {
  if (refusal) return "closed";
  if (limits) return "without live figures";
  if (!live) return "connecting …";
  return document?.server.draining ? "draining" : "live";
}

function Header({ overview, admin }) {
  const { live, document, refusal } = overview;
  const server = document?.server;
  return html`<header>
    <a class="brand" href=${ROOT}><img src=${`${ROOT}page/icon.svg`} alt="" />Tandem</a>
    <nav aria-label="Pages">
      <a href=${ROOT} aria-current=${NAME ? null : "page"}>Models</a>
      <a href=${`${ROOT}docs`}>API</a>
    </nav>
    <span class=${`live ${live ? "" : "off"}`} role="status">${wordOf(overview)}</span>
    ${API_KEY && !refusal && html`<button type="button" onClick=${() => changeApiKey("")}>
      Forget the key</button>`}
    ${server?.admin && html`<${Admin} admin=${admin} server=${server} whole=${!NAME} />`}
  </header>`;
}

function Shown({ overview, admin }) {
  const { document, limits, refusal } = overview;
  if (refusal) return html`<${KeyForm} told=${refusal} />`;
  if (!document) return html`<p class="empty" role="status">Reading the models …</p>`;
  return html`
    ${limits && html`<p class="limits" role="status">No live figures: ${limits}.</p>`}
    ${NAME
      ? html`<${ModelPage} name=${NAME} document=${document} admin=${admin} />`
      : html`<${Overview} document=${document} admin=${admin} />`}`;
}

function App() {
  const overview = useOverview();
  const admin = useAdmin();
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <${Header} overview=${overview} admin=${admin} />
    <main id="main" tabindex="-1"><${Shown} overview=${overview} admin=${admin} /></main>
    <${Dialogs} admin=${admin} />
  `;
}

const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);
