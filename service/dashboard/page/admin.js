// Operators' acts. Each asks first, and is sent with the token, which the page forgets
// when it is closed.
import { modelActs, serverActs } from "./acts.js";
import { call, good } from "./api.js";
import { ROOT, html } from "./html.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

export function useAdmin() {
  const [token, setToken] = useState("");
  const [asked, setAsked] = useState(null);
  const [told, setTold] = useState(null);
  return { token, setToken, asked, ask: setAsked, told, tell: setTold };
}

async function send(act, token, text) {
  const body = act.body && JSON.stringify(act.body(text));
  const options = {
    method: act.method ?? "POST",
    headers: body ? { "Content-Type": "application/json" } : {},
    body,
  };
  if (act.open) return good(await call(act.path, options));
  options.headers.Authorization = `Bearer ${token}`;
  return good(await fetch(ROOT + act.path, options));
}

const Acts = ({ admin, acts }) => acts.map((act) => html`<button type="button"
  key=${act.title} onClick=${() => admin.ask(act)}>${act.title}</button>`);

export function Admin({ admin, server, whole }) {
  if (!whole && !admin.token) return null;
  return html`<div class="acts">
    ${whole && html`<${Acts} admin=${admin} acts=${serverActs(server)} />`}
    ${admin.token && html`<button type="button" onClick=${() => admin.setToken("")}>
      Forget the token</button>`}
  </div>`;
}

export function ModelActs({ admin, name, version }) {
  return html`<div class="acts" role="group" aria-label=${`Acts on ${name} ${version.version}`}>
    <${Acts} admin=${admin} acts=${modelActs(name, version)} />
  </div>`;
}

export function Dialogs({ admin }) {
  return html`
    ${admin.asked && html`<${Ask} key=${admin.asked.title} admin=${admin} act=${admin.asked} />`}
    <p class=${admin.told ? "toast" : "hidden"} role="status">${admin.told}</p>
  `;
}

function Field({ field, text, setText }) {
  const { label, start, choices, ...attributes } = field;
  const change = (event) => setText(event.target.value);
  return html`<label>${label}
    ${choices
      ? html`<select value=${text} onChange=${change}>
          ${choices.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
        </select>`
      : html`<input required value=${text} onInput=${change} ...${attributes} />`}
  </label>`;
}

function Ask({ admin, act }) {
  const box = useRef(null);
  const [text, setText] = useState(String(act.field?.start ?? ""));
  const [token, setToken] = useState(admin.token);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    // A dialog that is taken out of the document gives the focus back to nobody.
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.focus();
  }, []);

  const close = () => {
    box.current.close();
    admin.ask(null);
  };
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await send(act, token, text.trim());
      if (!act.open) admin.setToken(token);
      admin.tell(`${act.title}: done.`);
      setTimeout(() => admin.tell(null), 5000);
      close();
    } catch (problem) {
      if (problem.status === 401) admin.setToken("");
      setError(problem.message);
    }
    setBusy(false);
  };

  return html`<dialog ref=${box} aria-labelledby="ask" onCancel=${() => admin.ask(null)}>
    <form onSubmit=${submit}>
      <h2 id="ask">${act.title}</h2>
      <p>${act.question}</p>
      ${act.field && html`<${Field} field=${act.field} text=${text} setText=${setText} />`}
      ${!act.open && !admin.token && html`<label>Admin token
        <input type="password" required autocomplete="off" value=${token}
          onInput=${(event) => setToken(event.target.value)} />
      </label>`}
      <p class="error" role="alert">${error}</p>
      <div class="acts">
        <button type="button" onClick=${close}>${act.open ? "Back" : "Cancel"}</button>
        <button class="primary" disabled=${busy}>${act.title}</button>
      </div>
    </form>
  </dialog>`;
}
