// The page: one script for the list of models and for each model's own page.
import { Admin, Dialogs, useAdmin } from "./admin.js";
import { useOverview } from "./feed.js";
import { ROOT, html } from "./html.js";
import { ModelPage } from "./model.js";
import { Overview } from "./models.js";
import { render } from "./vendor/preact.js";

const path = location.pathname.slice(new URL(ROOT).pathname.length);
const found = /^models\/([^/]+)$/.exec(path);
const NAME = found && decodeURIComponent(found[1]);

function Header({ server, live, admin }) {
  const word = !live ? "connecting …" : server?.draining ? "draining" : "live";
  return html`<header>
    <a class="brand" href=${ROOT}><img src=${`${ROOT}page/icon.svg`} alt="" />Tandem</a>
    <nav aria-label="Pages">
      <a href=${ROOT} aria-current=${NAME ? null : "page"}>Models</a>
      <a href=${`${ROOT}docs`}>API</a>
    </nav>
    <span class=${`live ${live ? "" : "off"}`} role="status">${word}</span>
    ${server?.admin && html`<${Admin} admin=${admin} server=${server} whole=${!NAME} />`}
  </header>`;
}

function App() {
  const { document, live } = useOverview();
  const admin = useAdmin();
  const shown = !document
    ? html`<p class="empty" role="status">Reading the models …</p>`
    : NAME
      ? html`<${ModelPage} name=${NAME} document=${document} admin=${admin} />`
      : html`<${Overview} document=${document} />`;

  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <${Header} server=${document?.server} live=${live} admin=${admin} />
    <main id="main" tabindex="-1">${shown}</main>
    <${Dialogs} admin=${admin} />
  `;
}

const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);
