// Operators' acts. Each asks first, and is sent with the token, which the page forgets
// when it is closed.
import { ROOT, html } from "./html.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

export function useAdmin() {
  const [token, setToken] = useState("");
  const [asked, setAsked] = useState(null);
  const [told, setTold] = useState(null);
  return { token, setToken, asked, ask: setAsked, told, tell: setTold };
}

async function send(act, token, text) {
  const body = act.body ? act.body(text) : undefined;
  const response = await fetch(`${ROOT}v1/admin/${act.path}`, {
    method: act.method ?? "POST",
    headers: {
      Authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status });
}

export function Admin({ admin, server, whole }) {
  const drain = server.draining
    ? {
        title: "End draining",
        question: "Report ready again, so that load balancers send clients here?",
        method: "PUT", path: "drain", body: () => ({ draining: false }),
      }
    : {
        title: "Drain",
        question: "Report not ready, so that load balancers send clients elsewhere? "
          + "Requests that arrive nevertheless are answered.",
        method: "PUT", path: "drain", body: () => ({ draining: true }),
      };
  const rescan = {
    title: "Rescan",
    question: "Look for new, changed and removed models now?",
    path: "rescan",
  };
  return html`<div class="acts">
    ${whole && html`
      <button type="button" onClick=${() => admin.ask(rescan)}>Rescan</button>
      <button type="button" onClick=${() => admin.ask(drain)}>${drain.title}</button>`}
    ${admin.token && html`<button type="button" onClick=${() => admin.setToken("")}>
      Forget the token</button>`}
  </div>`;
}

export function ModelActs({ admin, name, version }) {
  const path = `models/${encodeURIComponent(name)}/versions/${version.version}`;
  const title = `${name} ${version.version}`;
  const acts = [
    version.state === "END"
      ? { title: "Load", question: `Load ${title}?`, path: `${path}/load` }
      : {
          title: "Unload",
          question: `Unload ${title}? Requests under way are answered, later ones refused `
            + "with 503 until it is loaded again.",
          path: `${path}/unload`,
        },
    version.pinned
      ? {
          title: "Unpin", question: `Allow ${title} to be evicted from memory?`,
          method: "PUT", path: `${path}/pin`, body: () => ({ pinned: false }),
        }
      : {
          title: "Pin", question: `Keep ${title} in memory, whatever else is loaded?`,
          method: "PUT", path: `${path}/pin`, body: () => ({ pinned: true }),
        },
    {
      title: "Label",
      question: `Let a label name ${title}. Clients of the label are answered by it.`,
      field: "Label", start: version.labels[0] ?? "stable",
      method: "PUT", path: `models/${encodeURIComponent(name)}/labels`,
      body: (label) => ({ [label]: version.version }),
    },
  ];
  return html`<div class="acts" role="group" aria-label=${`Acts on ${title}`}>
    ${acts.map((act) => html`<button type="button" key=${act.title}
      onClick=${() => admin.ask(act)}>${act.title}</button>`)}
  </div>`;
}

export function Dialogs({ admin }) {
  return html`
    ${admin.asked && html`<${Ask} key=${admin.asked.title} admin=${admin} act=${admin.asked} />`}
    <p class=${admin.told ? "toast" : "hidden"} role="status">${admin.told}</p>
  `;
}

function Ask({ admin, act }) {
  const box = useRef(null);
  const [text, setText] = useState(act.start ?? "");
  const [token, setToken] = useState(admin.token);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => box.current.showModal(), []);

  const close = () => {
    box.current.close();
    admin.ask(null);
  };
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await send(act, token, text.trim());
      admin.setToken(token);
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
      ${act.field && html`<label>${act.field}
        <input required value=${text} onInput=${(event) => setText(event.target.value)} />
      </label>`}
      ${!admin.token && html`<label>Admin token
        <input type="password" required autocomplete="off" value=${token}
          onInput=${(event) => setToken(event.target.value)} />
      </label>`}
      <p class="error" role="alert">${error}</p>
      <div class="acts">
        <button type="button" onClick=${close}>Cancel</button>
        <button class="primary" disabled=${busy}>${act.title}</button>
      </div>
    </form>
  </dialog>`;
}
